"""The identity providers among the settings: suffixes, what excludes what, and which dangers are refused."""

from __future__ import annotations

import pytest

from gateway.cli import _identity_lines
from gateway.settings.config import ConfigErrors
from gateway.settings.table import SETTINGS, openid_suffix
from sts.settings import OpenIdSettings
from tests.unit.gateway.settings.test_config import loaded, problems

CONFIG, CLIENT = "MINIO_IDENTITY_OPENID_CONFIG_URL", "MINIO_IDENTITY_OPENID_CLIENT_ID"
ONE = {CONFIG: "https://one.test/config", CLIENT: "one"}
CORP = {f"{CONFIG}_CORP": "https://corp.test/config", f"{CLIENT}_CORP": "corp"}
ROLE = {
    "MINIO_IDENTITY_OPENID_ROLE_POLICY_CORP": "readonly, mine",
    "MINIO_GW_OPENID_SUBJECTS_CORP": "system:serviceaccount:batch:*",
}


def test_several_providers():
    """Each suffix is a provider of its own, none inherits from another, and the one without a suffix comes first."""
    more = {"MINIO_GW_OPENID_LEEWAY_CORP": "5", "MINIO_GW_OPENID_LEEWAY": "9"}
    found = loaded(**{**ONE, **CORP, **ROLE, **more}).openids
    assert found == (
        OpenIdSettings("", "https://one.test/config", "one", leeway=9),
        OpenIdSettings(
            "", "https://corp.test/config", "corp", leeway=5, name="corp", subjects=("system:serviceaccount:batch:*",),
            role_policies=("readonly", "mine"),
        ),
    )  # fmt: skip


def test_every_openid_setting_takes_a_suffix():
    """Every variable with OPENID in its name is one of the provider that its suffix names."""
    names = [n for s in SETTINGS for n in s.names if "_OPENID_" in n]
    assert len(names) > 20
    assert [n for n in names if (openid_suffix(n), openid_suffix(f"{n}_MY_CORP")) != ("", "_MY_CORP")] == []


@pytest.mark.parametrize(
    ("variable", "suffix"),
    [
        ("MINIO_IDENTITY_OPENID_REDIRECT_URI_DYNAMIC", ""),
        ("MINIO_IDENTITY_OPENID_CLIENT_SECRET_CORP_FILE", "_CORP"),
        ("MINIO_IDENTITY_OPENID_CLIENT_ID_FILE", ""),
        ("MINIO_IDENTITY_OPENID_CLIENT_IDS", None),
        ("MINIO_IAM_JWKS_URL_CORP", None),
        ("MINIO_GW_DRAIN_CORP", None),
    ],
)
def test_suffixes(variable, suffix):
    """The longest name counts, _FILE is no provider, and what only looks like a setting is none."""
    assert openid_suffix(variable) == suffix


@pytest.mark.parametrize(
    "name",
    ["MINIO_IDENTITY_OPENID_CLIENTID", "MINIO_IDENTITY_OPENID_CLAIMNAME_CORP", "MINIO_GW_OPENID_LEEWY_CORP",
     "MINIO_GW_OPENID_", "MINIO_IDENTITY_OPENID_"],
)  # fmt: skip
def test_a_misspelled_variable_is_told(name):
    """A variable of identity providers that nobody knows would be a check that nobody makes."""
    assert set(problems(**CORP, **{name: "x"})) == {name}


def test_a_suffix_without_a_provider_is_told():
    """A misspelled suffix is a provider without an address, and is told as one."""
    assert set(problems(**CORP, MINIO_IDENTITY_OPENID_CLAIM_NAME_CROP="roles")) == {f"{CONFIG}_CROP"}


def test_names_of_providers():
    """One name in capitals and in small letters would be two providers of one name; and a name is not empty."""
    assert set(problems(**CORP, **{n.replace("_CORP", "_corp"): v + "2" for n, v in CORP.items()})) == {
        f"{CONFIG}_CORP"
    }
    assert f"{CONFIG}_" in problems(**{f"{CONFIG}_": "https://x.test/", f"{CLIENT}_": "x"})


def test_a_secret_for_minios_console_is_taken_and_not_kept():
    """MinIO's variables that only its console used are no problem, and nothing of them is in the configuration."""
    found = loaded(**ONE, MINIO_IDENTITY_OPENID_CLIENT_SECRET="hunter2-hunter2", MINIO_IDENTITY_OPENID_SCOPES="openid")
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(("switch", "count"), [("on", 2), ("off", 1)])
def test_a_provider_may_be_switched_off(switch, count):
    """MINIO_IDENTITY_OPENID_ENABLE is on unless it is said to be off; what is off is not there."""
    assert len(loaded(**ONE, **CORP, MINIO_IDENTITY_OPENID_ENABLE_CORP=switch).openids) == count


def test_a_switched_on_provider_has_an_address():
    """Who switches a provider on that is not described is told so."""
    assert set(problems(MINIO_IDENTITY_OPENID_ENABLE="on")) == {CONFIG}


def test_the_documents_of_2018_still_start():
    """One key set without any audience is what MinIO had in 2018, and starts; nothing else does without one."""
    (found,) = loaded(MINIO_IAM_JWKS_URL="https://localhost:9443/oauth2/jwks").openids
    assert (found.jwks_url, found.accepted) == ("https://localhost:9443/oauth2/jwks", ())


@pytest.mark.parametrize("url", [CONFIG, f"{CONFIG}_CORP"])
def test_trap_39_any_audience_is_refused(url):
    """A discovered provider without an audience does not start, unless the operator asks for that by name."""
    suffix = url.removeprefix(CONFIG)
    assert set(problems(**{url: "https://idp.test/config"})) == {CLIENT + suffix}
    (found,) = loaded(**{url: "https://idp.test/config", f"MINIO_GW_OPENID_ANY_AUDIENCE{suffix}": "on"}).openids
    assert found.accepted == ()
    (found,) = loaded(**{url: "https://idp.test/config", f"MINIO_GW_OPENID_AUDIENCES{suffix}": "a,b"}).openids
    assert found.accepted == ("a", "b")


def test_trap_39_a_key_set_beside_others_needs_issuer_and_audience():
    """With several providers a bare key set would take every token of everybody."""
    bare = {"MINIO_IDENTITY_OPENID_JWKS_URL_LAB": "https://lab.test/jwks"}
    assert set(problems(**ONE, **bare)) == {f"{CLIENT}_LAB", "MINIO_GW_OPENID_ISSUER_LAB"}
    whole = bare | {f"{CLIENT}_LAB": "lab", "MINIO_GW_OPENID_ISSUER_LAB": "https://lab.test"}
    assert len(loaded(**ONE, **whole).openids) == 2
    assert set(problems(**CORP, MINIO_IAM_JWKS_URL="https://old.test/jwks")) == {CLIENT, "MINIO_GW_OPENID_ISSUER"}


def test_any_audience_and_one_audience_contradict():
    """Who names an audience and takes any has made a mistake."""
    assert set(problems(**ONE, MINIO_GW_OPENID_ANY_AUDIENCE="on")) == {"MINIO_GW_OPENID_ANY_AUDIENCE"}


@pytest.mark.parametrize(
    ("without", "problem"),
    [("MINIO_GW_OPENID_SUBJECTS_CORP", "MINIO_GW_OPENID_SUBJECTS_CORP"),
     (f"{CLIENT}_CORP", "MINIO_IDENTITY_OPENID_ROLE_POLICY_CORP")],
)  # fmt: skip
def test_trap_39_a_role_says_who_may_take_it(without, problem):
    """A role without subjects would be anybody's, one without a client id has no name: neither starts."""
    settings = {n: v for n, v in {**CORP, **ROLE}.items() if n != without}
    assert problem in problems(**settings)


def test_claim_and_role_exclude_each_other():
    """As in MinIO a provider's rights come by its claim or by its role."""
    problem = "MINIO_IDENTITY_OPENID_ROLE_POLICY_CORP"
    assert set(problems(**CORP, **ROLE, MINIO_IDENTITY_OPENID_CLAIM_NAME_CORP="roles")) == {problem}
    assert loaded(**ONE, **CORP, **ROLE, MINIO_IDENTITY_OPENID_CLAIM_NAME="roles")


def test_names_of_policies():
    """A role's policies are names that a policy can have; whether they are there is seen at every request."""
    settings = {**CORP, **ROLE, "MINIO_IDENTITY_OPENID_ROLE_POLICY_CORP": "fine,not fine"}
    assert set(problems(**settings)) == {"MINIO_IDENTITY_OPENID_ROLE_POLICY_CORP"}


def test_two_claim_based_providers_differ():
    """MinIO allowed one; here their tokens must tell them apart: by discovery document and by issuer."""
    second = {f"{CONFIG}_LAB": CORP[f"{CONFIG}_CORP"], f"{CLIENT}_LAB": "lab"}
    assert set(problems(**CORP, **second)) == {CONFIG}
    issuers = {"MINIO_GW_OPENID_ISSUER_LAB": "https://i.test", "MINIO_GW_OPENID_ISSUER_CORP": "https://i.test"}
    other = second | {f"{CONFIG}_LAB": "https://lab.test/config"}
    assert set(problems(**CORP, **other, **issuers)) == {"MINIO_GW_OPENID_ISSUER"}
    assert len(loaded(**CORP, **other).openids) == 2


def test_two_roles_have_two_names():
    """A role is called by its client id: two of one id would be one role with two meanings."""
    second = {f"{CONFIG}_LAB": "https://lab.test/config", f"{CLIENT}_LAB": "corp"}
    second |= {n.replace("_CORP", "_LAB"): v for n, v in ROLE.items()}
    assert set(problems(**CORP, **ROLE, **second)) == {CLIENT}
    assert len(loaded(**CORP, **ROLE, **second | {f"{CLIENT}_LAB": "lab"}).openids) == 2


def test_userinfo_needs_discovery():
    """The endpoint that has the claims is named by the discovery document only."""
    settings = {"MINIO_IAM_JWKS_URL": "https://idp.test/jwks", "MINIO_IDENTITY_OPENID_CLAIM_USERINFO": "on"}
    assert set(problems(**settings)) == {"MINIO_IDENTITY_OPENID_CLAIM_USERINFO"}


def test_a_suffixed_value_is_checked_and_told_under_its_name():
    """A wrong value is a problem of the variable that has it."""
    found = problems(
        **CORP, **ONE, MINIO_GW_OPENID_LEEWAY_CORP="soon", MINIO_IDENTITY_OPENID_CLAIM_USERINFO_CORP="maybe"
    )
    assert set(found) == {"MINIO_GW_OPENID_LEEWAY_CORP", "MINIO_IDENTITY_OPENID_CLAIM_USERINFO_CORP"}
    assert set(problems(**{**CORP, f"{CONFIG}_CORP": "no url"})) >= {f"{CONFIG}_CORP"}


def test_a_value_may_be_in_a_file_of_its_own():
    """NAME_SUFFIX_FILE names a file with the value."""
    files = {"/run/id": "corp\n"}
    settings = {f"{CONFIG}_CORP": "https://corp.test/config", f"{CLIENT}_CORP_FILE": "/run/id"}
    assert loaded(files=files, **settings).openid.client_id == "corp"


def test_the_environment_file_may_hold_providers():
    """A provider of MINIO_CONFIG_ENV_FILE is found as well as one of the environment."""
    text = "\n".join(f"{n}={v}" for n, v in CORP.items())
    assert loaded(MINIO_CONFIG_ENV_FILE="/env", files={"/env": text}).openid.name == "corp"


def test_the_first_provider_is_the_ones_that_old_code_asks_for():
    """`openid`, `claim_name` and `claim_prefix` are the first provider's, MinIO's defaults where there is none."""
    found = loaded(**ONE, MINIO_IDENTITY_OPENID_CLAIM_NAME="n", MINIO_IDENTITY_OPENID_CLAIM_PREFIX="p-")
    assert (found.openid.client_id, found.claim_name, found.claim_prefix) == ("one", "n", "p-")
    assert (loaded().openid, loaded().claim_name, loaded().claim_prefix) == (None, "policy", "")


def test_everything_is_told_at_once():
    """Problems of two providers are in the one error."""
    with pytest.raises(ConfigErrors) as errors:
        loaded(**{CONFIG: "https://one.test/", f"{CONFIG}_CORP": "https://corp.test/"})
    assert {p.setting for p in errors.value.problems} == {CLIENT, f"{CLIENT}_CORP"}


def test_the_start_says_whose_tokens_are_believed():
    """The banner names every provider, the ARN of every role, and the danger of tokens for any audience."""
    found = _identity_lines(loaded(**ONE, **CORP, **ROLE, MINIO_REGION="eu-west-1"))
    assert found["Identity"] == "https://one.test/config, https://corp.test/config"
    assert found["Role openid:corp"].startswith("arn:minio:iam:eu-west-1::role/")
    assert "any audience" in _identity_lines(loaded(MINIO_IAM_JWKS_URL="https://old.test/jwks"))["Identity"]
    assert _identity_lines(loaded()) == {"Identity": "no OpenID provider"}
