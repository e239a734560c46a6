"""Places for results that will not do, and runs that are no runs."""

import json
import pickle
import shutil

from malformed import COLUMNS, Bomb, Plan, case, good_frame, run_case, truncated, write

# ---- where results go ------------------------------------------------------------------------------------------------


@case
def out_is_a_file(folder):
    good_frame().to_csv(folder / "table.csv", index=False)
    write(folder, "used", "")
    return Plan("fit", folder / "table.csv", *COLUMNS, "--out", folder / "used", says=r"used is a file")


@case
def out_is_below_a_file(folder):
    good_frame().to_csv(folder / "table.csv", index=False)
    write(folder, "used", "")
    return Plan("fit", folder / "table.csv", *COLUMNS, "--out", folder / "used" / "run", says=r"used")


@case
def out_is_in_use(folder):
    good_frame().to_csv(folder / "table.csv", index=False)
    (folder / "used").mkdir()
    write(folder, "used/notes.txt", "mine")
    return Plan("fit", folder / "table.csv", *COLUMNS, "--out", folder / "used", says=r"used is not empty")


@case
def out_cannot_be_written(folder):
    good_frame().to_csv(folder / "table.csv", index=False)
    return Plan("fit", folder / "table.csv", *COLUMNS, "--out", "/proc/run", says=r"/proc")


# ---- runs ------------------------------------------------------------------------------------------------------------


def edited(*path_and_value):
    def spoil(folder):
        *path, value = path_and_value
        file = folder / "run" / "config.json"
        config = json.loads(file.read_text())
        inner = config
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        file.write_text(json.dumps(config))

    return spoil


def changed_table(change):
    def spoil(folder):
        change(good_frame()).to_csv(folder / "table.csv", index=False)

    return spoil


def planted_model(folder):
    (folder / "run" / "model.safetensors").write_bytes(pickle.dumps(Bomb(folder / "executed")))


run_case("a_run_that_is_not_there", r"run", lambda folder: shutil.rmtree(folder / "run"))
run_case("a_run_that_is_a_file", r"run", lambda f: (shutil.rmtree(f / "run"), write(f, "run", "")))
run_case("an_unfinished_run", r"model\.safetensors", lambda folder: (folder / "run" / "model.safetensors").unlink())
run_case("a_run_without_config", r"config\.json", lambda folder: (folder / "run" / "config.json").unlink())
run_case("a_config_that_is_no_json", r"config\.json", lambda folder: write(folder, "run/config.json", "{"))
run_case("a_config_that_is_a_list", r"config\.json", lambda folder: write(folder, "run/config.json", "[]"))
run_case("a_config_of_a_later_format", r"config\.json was written by .* in format 9,", edited("format", 9))
run_case("a_config_of_another_version", r"config\.json.*'bagwise'", edited("bagwise", "9.9"))
run_case("a_config_with_other_classes", r"config\.json.*'classes'", edited("classes", [0, 2]))
run_case("a_config_with_another_width", r"config\.json.*'instance_shape'", edited("instance_shape", [3]))
run_case("a_config_with_another_class", r"config\.json.*'class'", edited("class", "os.system"))
run_case("a_config_with_more", r"config\.json.*'more'", edited("more", 1))
run_case("a_config_with_odd_columns", r"config\.json", edited("asked", "data", "bag", 3))
run_case("a_truncated_model", r"model\.safetensors", truncated("run/model.safetensors", 0.5))
run_case("a_model_that_is_a_pickle", r"model\.safetensors", planted_model)
run_case("a_feature_missing", r"table\.csv lacks.* y", changed_table(lambda frame: frame.drop(columns="y")))
run_case("a_feature_too_many", r"table\.csv has.* z", changed_table(lambda frame: frame.assign(z=1.0)))
run_case("another_bag_column", r"'bag'", changed_table(lambda frame: frame.rename(columns={"bag": "slide"})))
run_case("explain_a_feature_missing", r"lacks.* y", changed_table(lambda f: f.drop(columns="y")), "explain")
run_case("explain_into_a_folder_in_use", r"out", lambda f: write(f, "out", ""), "explain")
