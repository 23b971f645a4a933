"""The tests mirror the tree."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Modules whose tests are elsewhere, and where.
ELSEWHERE = {
    "gateway/app.py": "tests/faults/test_two_gateways.py",  # wiring: seen whole, in processes
    "gateway/processes/process.py": "tests/faults/test_processes.py",  # real processes, real signals
    "gateway/stories/case.py": "tests/unit/gateway/stories/test_story.py",  # the stories are its only users
    "gateway/stories/plans.py": "tests/unit/gateway/stories/test_story.py",  # dataclasses
    "gateway/errors.py": "tests/unit/gateway/stories/test_story.py",
    "gateway/backends/crossing.py": "tests/faults/test_copies_across.py",  # real copies, and sources that break off
    "gateway/s3/actions.py": "tests/unit/gateway/s3/test_operations.py",
    "gateway/wire/feed.py": "tests/unit/gateway/wire/test_under_tls.py",  # one way each under TLS
    "gateway/signing/chunk_chain.py": "tests/unit/gateway/signing/test_chunked.py",  # the signed relay is its only user
    "gateway/wire/shortage.py": "tests/unit/gateway/wire/test_pool.py",  # classes of errors
    "gateway/turns/again.py": "tests/unit/gateway/turns/test_habit.py",  # a habit makes it
    "gateway/wire/tap.py": "tests/unit/gateway/wire/test_under_tls.py",
    "gateway/handed.py": "tests/unit/gateway/test_control.py",  # a control surface is what it is for
    "gateway/guests.py": "tests/unit/gateway/test_control.py",  # its connections
    "gateway/admin/office.py": "tests/unit/gateway/admin/test_surface.py",  # a dataclass
    "gateway/settings/table.py": "tests/unit/gateway/settings/test_config.py",  # read together, told together
    "iam/belongings.py": "tests/unit/iam/test_changes.py",  # what goes with a user; in a real etcd: tests/contracts/test_stores.py
    "iam/changing.py": "tests/unit/iam/test_changes.py",  # how every change is made
    "iam/draft.py": "tests/unit/iam/test_changes.py",
    "iam/endings.py": "tests/unit/iam/test_changes.py",
    "iam/records.py": "tests/unit/iam/test_codec.py",  # dataclasses
    "iam/refusals.py": "tests/unit/iam/test_changes.py",  # classes of errors
    "iam/notes.py": "tests/unit/iam/test_bulk.py",  # a dataclass
    "iam/takeover.py": "tests/contracts/test_takeover.py",  # a real MinIO's etcd
    "sts/fetch.py": "tests/unit/sts/test_jwks.py",  # its bounds are those of discovery and key sets
    "sts/proof.py": "tests/unit/sts/test_service.py",  # dataclasses
    "iam/etcd_cluster.py": "tests/faults/test_etcd_faults.py",  # members that die, hang and refuse
    "iam/etcd.py": "tests/contracts/test_stores.py",
    "sts/ldap_settings.py": "tests/unit/gateway/settings/test_ldap_config.py",  # a dataclass
    "iam/etcd_pb2.py": "tests/contracts/test_stores.py",  # generated
}


def test_every_module_has_its_tests():
    """Each module has a file of tests of its own name, or a stated place where it is tested."""
    missing = []
    for module in sorted(p for package in ("gateway", "sts", "iam") for p in (ROOT / package).glob("**/*.py")):
        name = str(module.relative_to(ROOT))
        own = ROOT / "tests/unit" / module.relative_to(ROOT).parent / f"test_{module.name}"
        if module.name != "__init__.py" and not own.exists() and not (ROOT / ELSEWHERE.get(name, "?")).exists():
            missing.append(name)
    assert not missing
