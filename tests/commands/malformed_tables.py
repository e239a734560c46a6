"""Tables that will not do, and options that do not fit them."""

import os

import pandas as pd
import pyarrow as pa
from malformed import CASES, COLUMNS, Plan, case, good_frame, write


def table_case(name, says, change, options=(), file="table.csv"):
    """Add a case of a table that is changed before it is written."""

    def made(folder):
        changed = change(good_frame())
        path = folder / file
        if isinstance(changed, pd.DataFrame):
            changed.to_parquet(path) if file.endswith("parquet") else changed.to_csv(path, index=False)
        else:
            write(folder, file, changed)
        return Plan("fit", path, *(options or COLUMNS), "--out", folder / "run", says=says)

    CASES[name] = made


def replaced(column, row, value):
    def change(frame):
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value
        return frame

    return change


def words(frame):
    return [f"w{number}" for number in range(len(frame))]


def csv_text(frame):
    return frame.to_csv(index=False)


table_case("empty_table", r"table\.csv.*empty", lambda _: "")
table_case("only_spaces", r"table\.csv.*empty", lambda _: "\n  \n")
table_case("only_a_header", r"table\.csv.*no rows", lambda _: "bag,label,x\n")
table_case("ragged_row", r"table\.csv.*row 4", lambda frame: csv_text(frame.head(2)) + "b9,1,0.5\n")
table_case("too_many_fields", r"table\.csv.*row 4", lambda frame: csv_text(frame.head(2)) + "b9,1,0.5,0.5,7\n")
table_case("open_quote", r"table\.csv.*quote", lambda frame: csv_text(frame) + '"b9,1,0.5,0.5\n')
table_case("gap_in_a_coordinate", r"'x'.*row 7", replaced("x", 5, None), [*COLUMNS, "--coordinate", "x"])
table_case("a_comma_for_the_point", r"'x'.*row 2.*'0,5'", lambda frame: frame.assign(x=["0,5", "1,25"] * 18))
table_case("only_identifiers", r"no feature columns.*'x' \(an identifier\)", lambda f: f.assign(x=words(f), y=words(f)))
table_case("only_one_value", r"no feature columns.*'x' \(one value\)", lambda f: f.assign(x="tall").drop(columns="y"))
table_case("nothing_but_gaps", r"nothing to learn from", lambda frame: frame.assign(x=None).drop(columns="y"))
table_case("no_such_feature", r"no column 'z' to be a feature.*x, y", lambda f: f, [*COLUMNS, "--features", "z"])
table_case("no_such_column_to_drop", r"no column 'z\*'", lambda f: f, [*COLUMNS, "--drop", "z*"])
table_case("no_such_category", r"no column 'z'", lambda f: f, [*COLUMNS, "--categorical", "z"])
table_case("all_features_dropped", r"all that would be features are left out", lambda f: f, [*COLUMNS, "--drop", "x,y"])
table_case("a_feature_that_is_the_bag", r"no column 'bag' to be a feature", lambda f: f, [*COLUMNS, "--drop", "bag"])
OF_BAGS, ORDER = [*COLUMNS, "--bag-feature", "z"], [*COLUMNS, "--order", "z"]
steps = {"z": list(range(36))}
table_case("no_such_order", r"no column 'z'", lambda f: f, ORDER)
table_case("an_order_that_is_the_label", r"no column 'label'", lambda f: f, [*COLUMNS, "--order", "label"])
table_case("an_order_with_a_gap", r"'z' has nothing in row 4", lambda f: f.assign(z=[0, 1, None, *range(33)]), ORDER)
table_case("an_order_of_words", r"'z' has what is no date.*row 2.*2026-12-24", lambda f: f.assign(z=words(f)), ORDER)
table_case(
    "an_order_of_ties", r"order 'z' is the same in all rows of each bag", lambda f: f.assign(z=f.bag.str[1:]), ORDER
)
table_case("an_endless_order", r"'z' has an infinity in row 3", lambda f: f.assign(z=[0, "inf", *range(34)]), ORDER)
table_case("no_such_feature_of_bags", r"no column 'z'", lambda f: f, OF_BAGS)
table_case(
    "a_feature_that_differs_within_a_bag",
    r"'z'.*row 2 of the same bag 'b0' in row 3",
    lambda f: f.assign(**steps),
    OF_BAGS,
)
table_case(
    "a_feature_of_bags_and_of_instances",
    r"'x' is given two uses",
    lambda f: f,
    [*COLUMNS, "--features", "x", "--bag-feature", "x"],
)
table_case(
    "an_order_and_a_feature_of_bags",
    r"'z' is given two uses",
    lambda f: f.assign(**steps),
    [*ORDER, "--bag-feature", "z"],
)
table_case("no_such_date", r"no column 'z'", lambda f: f, [*COLUMNS, "--date", "z"])
table_case(
    "a_date_that_is_none",
    r"'z' has what is no date.*in row 2",
    lambda f: f.assign(z=words(f)),
    [*COLUMNS, "--date", "z"],
)
table_case(
    "dates_of_two_kinds",
    r"'z' has what is no date.*in row 37: write all of them like 24\.12\.2026",
    lambda f: f.assign(z=["24.12.2026"] * 35 + ["2026-12-24"]),
    [*COLUMNS, "--date", "z"],
)
table_case(
    "a_day_like_a_month",
    r"'z' has dates such as '01/02/2026'.*the day from the month",
    lambda f: f.assign(z="01/02/2026"),
    [*COLUMNS, "--date", "z"],
)


def days(odd):
    return lambda f: f.assign(z=["2026-12-01", "2026-12-02", odd, *(f"2026-11-{n % 28 + 1:02}" for n in range(33))])


def amounts(odd):
    return lambda f: f.assign(z=["1.5", "2.5", odd, *(f"{n}.25" for n in range(33))])


AS_DATE = r"'z' has what is no date, or written in another way than the rest in row 4.*2026-12-24"
table_case("a_date_among_others_written_otherwise", AS_DATE, days("24.12.2026"))
table_case("a_day_that_does_not_exist", AS_DATE, days("2026-02-30"))
table_case("a_month_that_does_not_exist", AS_DATE, days("2026-13-01"))
table_case("a_year_out_of_range", AS_DATE, days("20260-01-01"))
table_case("a_word_among_dates", AS_DATE, days("soon"))
table_case("a_time_that_does_not_exist", AS_DATE, days("2026-12-24 25:61"))
table_case("a_unit_among_amounts", r"'z' is not numeric: row 4 holds '7 EUR'", amounts("7 EUR"))
table_case("thousands_set_apart", r"'z' is not numeric: row 4 holds '1,234\.5'", amounts("1,234.5"))
table_case("per_cent", r"'z' is not numeric: row 4 holds '12%'", amounts("12%"))
table_case("an_endless_amount", r"'z' has an infinity in row 4", amounts("-inf"))
table_case("a_whole_number_too_large", r"'z' holds the whole number 1000.* in row 2", lambda f: f.assign(z=10**30))
table_case(
    "columns_that_differ_by_a_space", r"2 columns have the name 'x' in row 1", lambda f: f.rename(columns={"y": " x"})
)
table_case("a_column_without_a_name", r"column 3 has no name", lambda f: f.rename(columns={"x": " "}))
table_case("infinity_in_a_feature", r"'x'.*row 7", replaced("x", 5, "inf"))
table_case("text_in_a_feature", r"'x'.*row 7.*'tall'", replaced("x", 5, "tall"))
table_case("gap_in_the_bag_column", r"'bag'", replaced("bag", 5, None))
table_case("gap_in_the_labels", r"'label'.*row 7", replaced("label", 5, None))
table_case("two_labels_in_a_bag", r"'b1'", replaced("label", 5, 0))
table_case("text_among_labels", r"'label'.*'yes'", lambda frame: frame.assign(label=["yes", *frame.label[1:]]))
table_case("one_class", r"class", lambda frame: frame.assign(label=1))
table_case("one_bag", r"label", lambda frame: frame.assign(bag="b1", label=1))
table_case("no_such_bag_column", r"'bags'.*'bag'", lambda f: f, ["--bag", "bags", "--label", "label"])
table_case("no_such_label_column", r"'lable'.*'label'", lambda f: f, ["--bag", "bag", "--label", "lable"])
table_case("no_such_group_column", r"'patient'", lambda f: f, [*COLUMNS, "--group", "patient"])
table_case("no_such_coordinate", r"'z'", lambda f: f, [*COLUMNS, "--coordinate", "x", "--coordinate", "z"])
table_case("one_column_for_two_uses", r"'bag'.*2 uses", lambda f: f, ["--bag", "bag", "--label", "bag"])
table_case("no_bag_column_named", r"--bag.*bag, label, x, y", lambda f: f, ["--label", "label"])
table_case("no_label_column_named", r"--label", lambda f: f, ["--bag", "bag"])
table_case("a_positive_class_that_is_none", r"'x'.*0, 1", lambda f: f, [*COLUMNS, "--positive", "x"])
table_case(
    "a_positive_class_of_three",
    r"'1'.*3 classes",
    lambda frame: frame.assign(label=[int(name[1:]) % 3 for name in frame.bag]),
    [*COLUMNS, "--positive", "1"],
)
table_case("no_features", r"table\.csv.*feature", lambda frame: frame[["bag", "label"]])
table_case("duplicate_columns", r"2 columns.*'x'", lambda frame: csv_text(frame).replace(",y", ",x", 1))
table_case("row_numbers", r"no name", lambda frame: frame.to_csv())
table_case("utf_16", r"UTF-16", lambda frame: csv_text(frame).encode("utf-16"))
table_case("latin_1", r"UTF-8", lambda frame: csv_text(frame).replace("b3", "bé").encode("latin-1"))
table_case("nul_bytes", r"NUL", lambda frame: csv_text(frame).replace("b3", "b\0"))
table_case("truncated_gzip", r"table\.csv\.gz", lambda _: b"\x1f\x8b\x08\x00\x00", file="table.csv.gz")
table_case("no_parquet", r"table\.parquet", lambda _: b"PAR1 and nothing else", file="table.parquet")
table_case("unknown_kind_of_table", r"table\.xlsx", csv_text, file="table.xlsx")
table_case("a_missing_method", r"'atention'", lambda f: f, [*COLUMNS, "--method", "atention"])
table_case("no_epochs", r"epochs is 0", lambda f: f, [*COLUMNS, "--epochs", "0"])
table_case("a_negative_seed", r"seed", lambda f: f, [*COLUMNS, "--seed", "-1"])
table_case("an_empty_ensemble", r"--ensemble is 0", lambda f: f, [*COLUMNS, "--ensemble", "0"])
table_case("a_wrong_class_weight", r"--class-weight is 'even'", lambda f: f, [*COLUMNS, "--class-weight", "even"])
table_case("a_wrong_backend", r"'spark'", lambda f: f, [*COLUMNS, "--backend", "spark"])
table_case("an_address_without_a_cluster", r"--address", lambda f: f, [*COLUMNS, "--address", "here:1"])
table_case("too_few_to_validate", r"validation", lambda f: f.head(12), [*COLUMNS, "--patience", "3"])


@case
def no_such_file(folder):
    return Plan("fit", folder / "nowhere.csv", *COLUMNS, "--out", folder / "run", says=r"nowhere\.csv")


@case
def no_such_data_set(folder):
    return Plan("fit", "musk9", "--out", folder / "run", says=r"'musk9'.*musk1")


@case
def more_folds_than_bags(folder):
    path = folder / "table.csv"
    good_frame().to_csv(path, index=False)
    return Plan("evaluate", path, *COLUMNS, "--folds", 10, "--out", folder / "run", says=r"6 bags.*10 folds")


@case
def a_method_given_twice(folder):
    path = folder / "table.csv"
    good_frame().to_csv(path, index=False)
    twice = ["--method", "attention", "--method", "attention"]
    return Plan("evaluate", path, *COLUMNS, *twice, "--folds", 2, "--out", folder / "run", says=r"'attention'.*twice")


# ---- tables of labels ------------------------------------------------------------------------------------------------


def labels_case(name, says, text):
    def made(folder):
        frame = good_frame()
        frame.drop(columns="label").to_csv(folder / "table.csv", index=False)
        whole = "bag,label\n" + "".join(f"b{number},{number % 2}\n" for number in range(12))
        labels = write(folder, "labels.csv", text(whole))
        return Plan("fit", folder / "table.csv", *COLUMNS, "--labels", labels, "--out", folder / "run", says=says)

    CASES[name] = made


labels_case("a_label_for_no_bag", r"labels\.csv.*'b99'", lambda text: text + "b99,1\n")
labels_case("a_bag_labelled_twice", r"labels\.csv.*'b3'", lambda text: text + "b3,0\n")
labels_case("empty_labels", r"labels\.csv", lambda _: "")
labels_case("labels_without_a_column", r"labels\.csv.*'label'", lambda text: text.replace("label", "diagnosis"))
labels_case(
    "text_among_labels_apart", r"labels\.csv.*'1' in row 3.*'yes' in row 2", lambda text: text.replace("b0,0", "b0,yes")
)
labels_case("labels_that_are_all_missing", r"labels\.csv.*'label'.*row 2", lambda _: "bag,label\nb0,NA\nb1,\nb2,n/a\n")
labels_case("labels_with_an_open_quote", r"labels\.csv.*quotes in row 14", lambda text: text + '"b99,1\n')


# ---- several tables --------------------------------------------------------------------------------------------------


def tables_case(name, says, *options):
    """Add a case of a bag whose rows stand in two tables of a folder."""

    def made(folder):
        tables, frame = folder / "tables", good_frame()
        tables.mkdir()
        frame[:20].to_csv(tables / "first.csv", index=False)
        frame[20:].to_csv(tables / "second.csv", index=False)
        frame[["bag", "label"]].drop_duplicates().to_csv(folder / "labels.csv", index=False)
        given = [folder / option if option.endswith(".csv") else option for option in options]
        return Plan("fit", tables, *COLUMNS, *given, "--out", folder / "run", says=says)

    CASES[name] = made


tables_case("a_bag_in_two_tables", r"tables is a folder.*join several into one")
tables_case(
    "a_bag_in_two_tables_beside_labels", r"no feature files.*first\.csv, .*join them into one", "--labels", "labels.csv"
)


# ---- what would fill memory, or never end ----------------------------------------------------------------------------


def cell_of(size):
    return lambda frame: csv_text(frame) + "b9,1," + "a" * size + ",0.5\n"


table_case("a_cell_of_10_megabytes", r"table\.csv.*'x'.*row 38 holds 'aaa", cell_of(10 << 20))
table_case(
    "a_name_of_10_megabytes",
    r"'bag'.*10,485,760 bytes in row 38",
    lambda f: csv_text(f) + "b" * (10 << 20) + ",1,2,3\n",
)
table_case("a_column_name_of_10_megabytes", r"cell in row 1.*characters", lambda f: "b" * (10 << 20) + csv_text(f))
table_case("a_row_of_100_000_quotes", r"table\.csv.*row 38 has 1 fields", lambda f: csv_text(f) + '"' * 100_000 + "\n")
table_case("a_row_of_100_001_quotes", r"table\.csv.*quotes in row 38", lambda f: csv_text(f) + '"' * 100_001 + "\n")
table_case(
    "a_lone_surrogate",
    r"byte 0xed in row 2 is not UTF-8",
    lambda f: csv_text(f).encode().replace(b"b0", b"\xed\xa0\x80", 1),
)
table_case(
    "a_bag_without_a_group",
    r"'g'.*row 5.*'b1'",
    lambda f: f.assign(g=f.bag.where(f.bag != "b1")),
    [*COLUMNS, "--group", "g"],
)


def packed(name, kind, codec):
    """Pack many times over what packs well: 8 GB in some megabytes."""

    def made(folder):
        head, zeros = (bytes(pa.Codec(codec).compress(text)) for text in (b"bag,label,x\n", b"0,0,0\n" * 3_000_000))
        path = write(folder, f"table.csv.{kind}", head + 450 * zeros)
        return Plan("fit", path, *COLUMNS, "--out", folder / "run", says=rf"table\.csv\.{kind}.*unpack to more")

    CASES[name] = made


packed("a_gzip_bomb", "gz", "gzip")
packed("a_zstandard_bomb", "zst", "zstd")


@case
def a_feature_of_bags_in_two_files(folder):
    frame = good_frame()
    bags = frame[["bag", "label"]].drop_duplicates().assign(z=1.0)
    bags.to_csv(folder / "labels.csv", index=False)
    frame.drop(columns="label").assign(z=2.0).to_csv(folder / "table.csv", index=False)
    argv = ["fit", folder / "table.csv", *COLUMNS, "--labels", folder / "labels.csv", "--bag-feature", "z"]
    return Plan(*argv, "--out", folder / "run", says=r"table\.csv.*has the column 'z', and the table of bags too")


@case
def a_pipe_for_a_table(folder):
    os.mkfifo(folder / "table.csv")
    return Plan("fit", folder / "table.csv", *COLUMNS, "--out", folder / "run", says=r"table\.csv: this is a pipe")


@case
def a_pipe_for_labels(folder):
    good_frame().to_csv(folder / "table.csv", index=False)
    os.mkfifo(folder / "labels.csv")
    argv = ["fit", folder / "table.csv", *COLUMNS, "--labels", folder / "labels.csv"]
    return Plan(*argv, "--out", folder / "run", says=r"labels\.csv: this is a pipe")
