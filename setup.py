"""Which modules are compiled when a wheel is built, and nothing else: the package is described in pyproject.toml.

mypyc makes C of the modules that every request passes (docs/decisions/0012). Without a C compiler or Python's headers the same
modules are interpreted. MINIOGW_COMPILE: `must` makes that a failure of the build, `never` does not try. An editable install is
always interpreted: an extension beside its source would go on running after the source was changed.
"""

from __future__ import annotations

import os
import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

#: What runs for every request, and what its classes inherit from.
COMPILED = [
    f"{name}.py"
    for name in (
        "gateway/observe", "gateway/backends/regions", "gateway/s3/aliases", "gateway/signing/chunk_chain", "gateway/signing/chunked", "gateway/signing/sigv4",
        "gateway/stories/answers", "gateway/turns/again", "gateway/turns/desk", "gateway/turns/guest", "gateway/turns/habit", "gateway/turns/habits",
        "gateway/turns/identities", "gateway/turns/parameters", "gateway/turns/policy_service", "gateway/turns/questions", "gateway/turns/retold", "gateway/turns/turn",
        "gateway/wire/answer", "gateway/wire/answer_heads", "gateway/wire/body", "gateway/wire/chunks", "gateway/wire/client",
        "gateway/wire/exchange", "gateway/wire/forms", "gateway/wire/group", "gateway/wire/heads", "gateway/wire/outlet",
        "gateway/wire/pool", "gateway/wire/question", "gateway/wire/steps", "gateway/wire/stream", "gateway/wire/upload", "gateway/wire/upstream",
        "iam/authorize", "iam/evaluate", "iam/opa_questions", "iam/policy_book",
    )
]  # fmt: skip
WISH = os.environ.get("MINIOGW_COMPILE", "")


def extensions() -> list[Extension]:
    """Return what is to be compiled; the C of it is made here, of what mypy knows without the dependencies' types."""
    if WISH == "never" or "bdist_wheel" not in sys.argv:
        return []
    try:
        from mypyc.build import mypycify  # noqa: PLC0415 - not there when nothing is to be compiled

        found: list[Extension] = mypycify(["--config-file=", "--ignore-missing-imports", *COMPILED])
        found.append(Extension("gateway.signing._lanes", ["gateway/signing/_lanes.c"]))
    except (ImportError, SystemExit) as error:
        interpreted(error)
        return []
    return found


def interpreted(error: BaseException) -> None:
    """Go on without; fail where compiling was asked for."""
    if WISH == "must":
        raise error
    print(f"minio-gw will be interpreted: {error}", file=sys.stderr)  # noqa: T201 - pip shows it with -v


class Build(build_ext):
    """Compiles all or nothing: the modules of one build call each other."""

    def run(self) -> None:
        """Compile, or leave the sources as they are."""
        try:
            super().run()
        except Exception as error:  # noqa: BLE001 - no compiler, no headers, no memory: each has its own error
            interpreted(error)
            for path in filter(os.path.exists, self.get_outputs()):
                os.remove(path)  # noqa: PTH107 - setuptools' are strings
            self.extensions = []


setup(ext_modules=extensions(), cmdclass={"build_ext": Build})
