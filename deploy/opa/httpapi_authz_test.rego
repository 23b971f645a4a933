package httpapi.authz_test

import data.httpapi.authz

ask(policy, action) := {
	"account": "TEMPORARYKEY",
	"owner": false,
	"action": action,
	"bucket": "lab",
	"object": "a/b",
	"conditions": {"SourceIp": ["192.0.2.1"]},
	"claims": {"sub": "somebody", "policy": policy},
	"groups": null,
	"denyOnly": false,
}

test_nothing_by_default if {
	authz.allow == false with input as {}
	not authz.allow with input as object.remove(ask("", "s3:GetObject"), ["claims"])
	not authz.allow with input as object.union(ask("", "s3:GetObject"), {"claims": null})
}

test_owner_may_all if {
	authz.allow with input as {"owner": true, "action": "s3:DeleteBucket", "claims": {}}
	authz.allow with input as {"owner": true, "action": "admin:ServerInfo", "claims": {}}
}

test_owner_is_the_boolean_only if {
	every claimed in ["true", 1, {}, null] {
		not authz.allow with input as {"owner": claimed, "action": "s3:GetObject", "claims": {}}
	}
}

test_claimed_owner_is_no_owner if {
	not authz.allow with input as {"owner": false, "action": "s3:GetObject", "claims": {"owner": true}}
}

test_readonly_reads if {
	authz.allow with input as ask("readonly", "s3:GetObject")
	authz.allow with input as ask("readonly", "s3:ListBucket")
	not authz.allow with input as ask("readonly", "s3:PutObject")
	not authz.allow with input as ask("readonly", "s3:GetObjectAcl")
}

test_writeonly_puts if {
	authz.allow with input as ask("writeonly", "s3:PutObject")
	not authz.allow with input as ask("writeonly", "s3:GetObject")
	not authz.allow with input as ask("writeonly", "s3:DeleteObject")
}

test_readwrite_is_not_administration if {
	every action in ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "s3:AbortMultipartUpload"] {
		authz.allow with input as ask("readwrite", action)
	}
	every action in ["s3:PutBucketPolicy", "s3:DeleteBucket", "admin:ServerInfo", "s3:PutObjectAcl"] {
		not authz.allow with input as ask("readwrite", action)
	}
}

test_console_admin_may_all if {
	authz.allow with input as ask("consoleAdmin", "s3:PutBucketPolicy")
	authz.allow with input as ask("consoleAdmin", "admin:ServerInfo")
	not authz.allow with input as ask("consoleAdmin", "kms:CreateKey")
}

test_several_names if {
	every several in ["readonly,writeonly", "readonly, writeonly", ["readonly", "writeonly"]] {
		authz.allow with input as ask(several, "s3:GetObject")
		authz.allow with input as ask(several, "s3:PutObject")
		not authz.allow with input as ask(several, "s3:DeleteObject")
	}
}

test_unknown_and_odd_names_grant_nothing if {
	every odd in ["", "*", "ReadOnly", "readonly2", "s3:*", null, true, {"readonly": "readonly"}, [["readonly"]]] {
		not authz.allow with input as ask(odd, "s3:GetObject")
	}
}

test_anonymous_is_refused if {
	every claims in [{}, null] {
		not authz.allow with input as object.union(ask("", "s3:GetObject"), {"account": "", "claims": claims})
	}
}

test_each_question_of_a_copy_and_of_delete_objects if {
	authz.allow with input as ask("writeonly", "s3:PutObject")
	not authz.allow with input as ask("writeonly", "s3:GetObject")
	every key in ["a", "b"] {
		authz.allow with input as object.union(ask("readwrite", "s3:DeleteObject"), {"object": key})
		not authz.allow with input as object.union(ask("readonly", "s3:DeleteObject"), {"object": key})
	}
}

test_deny_only_opens_nothing if {
	not authz.allow with input as object.union(ask("readonly", "s3:PutObject"), {"denyOnly": true})
}
