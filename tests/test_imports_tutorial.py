"""The tutorial on stable-baselines3 works as it is written."""

from pathlib import Path

from tests.support.documents import background, blocks, ports, run_script

PAGE = "docs/stable-baselines3.md"


def test_a_policy_of_stable_baselines3_is_trained_imported_promoted_and_served(tmp_path: Path) -> None:
    changes = ports()
    train, ask = blocks(PAGE, "python")
    (tmp_path / "train_car.py").write_text(train)
    (tmp_path / "ask.py").write_text(ask.replace("localhost:50051", changes["POLSERVE_TARGET"]))
    script = background("\n".join((*blocks(PAGE, "sh"), "python ask.py", "kill $(jobs -p)", "wait")))
    script = script.replace("--port 5000", "--port $PORT").replace("127.0.0.1:5000", "127.0.0.1:$PORT")
    output = run_script(script, tmp_path, **changes)
    assert "first: mean return -" in output
    assert output.count("'s predict on 1,000 observations: 0 ties and no other difference") == 2
    assert "registered car/1" in output
    assert "car/2 is @champion now" in output
    assert "of version 2 by the values" in output
