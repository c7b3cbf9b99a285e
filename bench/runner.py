"""Units per second of the runner against `xargs -P` with the same parallelism, in the same run.

`python bench/runner.py [--quick]` prints a table with the ratios and writes bench/results/runner.json.
Each figure is the median of alternating rounds, so that a busy moment of the machine hits both sides alike.
The runner's time is that of the whole process: start of Python, claim, all units with their records, end record.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from shared.remote.bundle import runner_source

PYTHON = "/usr/bin/python3"
RESULTS = Path(__file__).parent / "results" / "runner.json"
PARALLEL = (2, 4)
WORKLOADS = {"true": (["true"], 3000), "python3 -c pass": ([PYTHON, "-c", "pass"], 400)}
AIM = 0.8


def with_runner(command: list[str], units: int, parallel: int) -> float:
    """Seconds that one batch takes."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "batches" / "00000"
        folder.mkdir(parents=True)
        runner = Path(temporary) / "runner.py"
        runner.write_bytes(runner_source())
        batch = {"format": 1, "batch_id": "bench", "parallel": parallel, "command": command}
        (folder / "batch.json").write_text(json.dumps(batch))
        (folder / "units.jsonl").write_text(
            "".join(f'{{"unit":{i},"attempt":1,"args":{{}}}}\n' for i in range(units))
        )
        began = time.perf_counter()
        subprocess.run([PYTHON, "-I", "-S", str(runner), str(folder), "--native-id=bench"], check=True)
        seconds = time.perf_counter() - began
        end = json.loads((folder / "end.json").read_text())
        assert (end["how"], end["results"]) == ("complete", units)
        return seconds


def with_xargs(command: list[str], units: int, parallel: int) -> float:
    """Seconds that xargs takes to run the command as often."""
    lines = "\n".join(map(str, range(units)))
    began = time.perf_counter()
    xargs = ["/usr/bin/xargs", "-P", str(parallel), "-n", "1"]
    subprocess.run([*xargs, *command], input=lines, text=True, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Measure, print, write."""
    quick = "--quick" in sys.argv
    rounds = 2 if quick else 5
    measured = []
    for name, (command, full) in WORKLOADS.items():
        units = full // 10 if quick else full
        for parallel in PARALLEL:
            ours, theirs = [], []
            for _ in range(rounds):
                ours.append(units / with_runner(command, units, parallel))
                theirs.append(units / with_xargs(command, units, parallel))
            runner, xargs = statistics.median(ours), statistics.median(theirs)
            ratio = runner / xargs
            measured.append(
                {
                    "workload": name,
                    "parallel": parallel,
                    "units": units,
                    "runner_units_per_second": round(runner, 1),
                    "xargs_units_per_second": round(xargs, 1),
                    "ratio": round(ratio, 3),
                }
            )
            verdict = "reached" if ratio >= AIM else "MISSED"
            figures = f"runner {runner:7.0f}/s  xargs {xargs:7.0f}/s  ratio {ratio:.2f}"
            print(f"{name:<18} P={parallel}  {figures}  aim {verdict}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"aim_ratio": AIM, "measured": measured}, indent=2) + "\n")


if __name__ == "__main__":
    main()
