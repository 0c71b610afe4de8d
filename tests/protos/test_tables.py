from polserve.protos.shared.tables import aligned


def test_columns_of_figures_stand_to_the_right_and_others_to_the_left() -> None:
    rows = [("player", "mean", "interval"), ("champion", "9.50", "8.00 to 11.00"), ("random", "120.00", "-"), ("none",)]
    assert aligned(rows) == [
        "player      mean       interval",
        "champion    9.50  8.00 to 11.00",
        "random    120.00              -",
        "none",
    ]


def test_a_column_with_a_word_stands_to_the_left() -> None:
    assert aligned([("version", "status"), ("cartpole/1", "live"), ("go/12", "-")]) == [
        "version     status",
        "cartpole/1  live",
        "go/12       -",
    ]
