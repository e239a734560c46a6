"""Runs whose files are no files, are nested without end, or hold numbers that are none."""

import json
import os

import torch
from malformed import COLUMNS, Plan, case, good_frame, run_case, write
from malformed_runs import changed_table, edited
from safetensors import safe_open
from safetensors.torch import save_file


def instead(name, make):
    def spoil(folder):
        path = folder / "run" / name
        path.unlink()
        make(path)

    return spoil


def endless(path):
    path.symlink_to("/dev/zero")


def weights(change, name="0.head.weight"):
    """Change a tensor of the model, and leave all else as it was."""

    def spoil(folder):
        path = folder / "run" / "model.safetensors"
        with safe_open(path, framework="pt") as file:
            tensors, told = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
        tensors[name] = change(tensors[name])
        save_file(tensors, path, metadata=told)

    return spoil


def relabelled(folder):
    """Say in the header of the file that its numbers are whole, as a careless editor would."""
    path = folder / "run" / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"I32"'))


def with_infinity(weight):
    weight = weight.clone()
    weight[0, 0] = torch.inf
    return weight


def nested(folder):
    write(folder, "run/config.json", "[" * 100_000 + "]" * 100_000)


def nested_within(folder):
    path = folder / "run" / "config.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"asked": 0}).replace(
            '"asked": 0', f'"asked": {"[" * 9000}{"]" * 9000}'
        )
    )


for file in ("config.json", "model.safetensors"):
    name = file.replace(".", "_")
    run_case(f"a_pipe_for_{name}", rf"{file}: this is a pipe", instead(file, os.mkfifo))
    run_case(f"a_device_for_{name}", rf"{file}: this is a device", instead(file, endless))
    run_case(f"a_folder_for_{name}", rf"{file}: this is a folder", instead(file, lambda path: path.mkdir()))
run_case("a_config_nested_without_end", r"config\.json", nested)
run_case("a_request_nested_without_end", r"config\.json", nested_within)
run_case("coordinates_that_are_a_number", r"config\.json", edited("asked", "data", "coordinates", 5))
run_case("coordinates_that_are_a_word", r"config\.json", edited("asked", "data", "coordinates", "xy"))
run_case("coordinates_that_are_nested", r"config\.json", edited("asked", "data", "coordinates", [["x"]]))
run_case("a_request_that_is_a_number", r"config\.json", edited("asked", 5))
run_case("data_that_are_a_number", r"config\.json", edited("asked", "data", 5))
run_case("a_patch_that_is_a_word", r"config\.json", edited("asked", "data", "patch", "x"))
run_case("a_format_that_is_a_word", r"config\.json", edited("format", "x"))
run_case("weights_that_are_no_numbers", r"model\.safetensors .*0\.head\.weight .*NaN", weights(lambda w: w * torch.nan))
run_case("one_weight_that_is_infinite", r"model\.safetensors .*0\.head\.weight .*infinity", weights(with_infinity))
run_case("weights_relabelled_as_whole_numbers", r"model\.safetensors .* is int32 .* the model's is float", relabelled)
run_case("weights_of_half_precision", r"model\.safetensors .* is float16", weights(lambda weight: weight.half()))
run_case("weights_of_another_shape", r"model\.safetensors .* of shape \(1, 3\)", weights(lambda weight: weight[:, :3]))
run_case("a_scaler_without_numbers", r"0\.scaler\.factor .*NaN", weights(lambda w: w * torch.nan, "0.scaler.factor"))
run_case("explain_weights_that_are_no_numbers", r"0\.head", weights(lambda weight: weight * torch.nan), "explain")


# ---- numbers that would overflow -------------------------------------------------------------------------------------


def far_out(frame):
    frame.loc[4, "y"] = 1e300
    return frame


def told(folder, frame, *argv, says):
    frame.to_csv(folder / "table.csv", index=False)
    return Plan(argv[0], folder / "table.csv", *COLUMNS, "--out", folder / "run", *argv[1:], says=says)


@case
def a_value_too_far_out_to_learn_from(folder):
    return told(folder, far_out(good_frame()), "fit", "--epochs", "1", says=r"'y' .*1e\+300.* row 1 of bag 'b1'")


@case
def values_too_close_together_to_learn_from(folder):
    frame = good_frame()
    return told(folder, frame.assign(y=frame["y"] * 1e-300), "fit", "--epochs", "1", says=r"'y' .*1e-30")


@case
def a_value_too_far_out_to_evaluate_by(folder):
    return told(folder, far_out(good_frame()), "evaluate", "--folds", "2", "--epochs", "1", "--jobs", "1", says=r"'y'")


@case
def a_value_too_far_out_for_a_classical_method(folder):
    argv = ["evaluate", "--folds", "2", "--method", "MI-SVM", "--jobs", "1"]
    return told(folder, far_out(good_frame()), *argv, says=r"'y'")


FAR_OUT = r"bag 'b1' has 1e\+300 as feature 'y' in row 1"
run_case("a_value_out_of_range", FAR_OUT, changed_table(far_out))
run_case("explain_a_value_out_of_range", FAR_OUT, changed_table(far_out), "explain")
