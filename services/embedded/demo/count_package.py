"""The demonstration's task: count what is in one package of Python source.

A task is any program that is called as `COMMAND --args-json FILE --out-json FILE`: it reads its arguments from one
file, may write a JSON result to the other, prints what it likes (its log), and ends with 0 when all went well.
"""

import argparse
import ast
import json
import sys
from pathlib import Path


def main() -> int:
    """Count the package that the arguments name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--args-json", type=Path, required=True)
    parser.add_argument("--out-json", type=Path, required=True)
    options = parser.parse_args()

    arguments = json.loads(options.args_json.read_text(encoding="utf-8"))
    counts = count(Path(arguments["path"]))
    sys.stdout.write(f"{arguments['package']}: {counts}\n")
    options.out_json.write_text(json.dumps({"package": arguments["package"], **counts}), encoding="utf-8")
    return 0


def count(path: Path) -> dict[str, int]:
    """Parse a module, or every module of a package, and count what is in it."""
    totals = {"files": 0, "lines": 0, "classes": 0, "functions": 0, "imports": 0, "not_parsed": 0}
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        source = file.read_bytes()
        totals["files"] += 1
        totals["lines"] += source.count(b"\n")
        try:
            tree = ast.parse(source, filename=str(file))
        except (SyntaxError, ValueError) as error:
            sys.stderr.write(f"{file}: not parsed: {error}\n")
            totals["not_parsed"] += 1
            continue
        for node in ast.walk(tree):
            totals["classes"] += isinstance(node, ast.ClassDef)
            totals["functions"] += isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            totals["imports"] += isinstance(node, ast.Import | ast.ImportFrom)
    return totals


if __name__ == "__main__":
    sys.exit(main())
