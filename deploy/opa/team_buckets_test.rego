package team_buckets_test

import data.team_buckets

ask(groups, action, bucket) := {
	"account": "TEMPORARYKEY",
	"owner": false,
	"action": action,
	"bucket": bucket,
	"object": "a/b",
	"conditions": {"SourceIp": ["10.1.2.3"], "EpochTime": ["1800000000"]},
	"claims": {"sub": "somebody", "groups": groups, "exp": 1800000900},
	"groups": null,
	"denyOnly": false,
}

from(addresses) := object.union(
	ask(["genomics"], "s3:GetObject", "genomics-raw"),
	{"conditions": {"SourceIp": addresses}},
)

claiming(claims, action, bucket) := object.union(ask([], action, bucket), {"claims": claims})

at(epochs) := object.union(
	ask(["genomics"], "s3:GetObject", "genomics-raw"),
	{"conditions": {"EpochTime": epochs}},
)

test_nothing_by_default if {
	team_buckets.allow == false with input as {}
	not team_buckets.allow with input as object.remove(ask([], "s3:GetObject", "genomics-raw"), ["claims"])
	not team_buckets.allow with input as ask([], "s3:GetObject", "genomics-raw")
}

test_owner_may_all if {
	team_buckets.allow with input as {"owner": true, "action": "s3:DeleteBucket", "bucket": "x", "claims": {}}
	not team_buckets.allow with input as {"owner": "true", "action": "s3:DeleteBucket", "bucket": "x", "claims": {}}
}

test_team_reads_and_writes_its_buckets if {
	every action in ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"] {
		team_buckets.allow with input as ask(["genomics"], action, "genomics-raw")
	}
	team_buckets.allow with input as ask(["imaging"], "s3:PutObject", "scans-2026")
	team_buckets.allow with input as ask(["other", "imaging"], "s3:PutObject", "imaging-a")
}

test_other_teams_buckets_are_closed if {
	every bucket in ["imaging-a", "genomics", "genomicsx-raw", "my-genomics-raw", "Genomics-raw", ""] {
		not team_buckets.allow with input as ask(["genomics"], "s3:GetObject", bucket)
	}
}

test_groups_must_be_a_list_of_known_names if {
	every groups in ["genomics", null, {"genomics": "genomics"}, [["genomics"]], ["genomics "], ["gen*"]] {
		not team_buckets.allow with input as ask(groups, "s3:GetObject", "genomics-raw")
	}
}

test_readers_only_read if {
	team_buckets.allow with input as ask(["genomics", "readers"], "s3:GetObject", "genomics-raw")
	team_buckets.allow with input as ask(["genomics", "readers"], "s3:ListBucket", "genomics-raw")
	every action in ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"] {
		not team_buckets.allow with input as ask(["genomics", "readers"], action, "genomics-raw")
	}
	not team_buckets.allow with input as ask(["readers"], "s3:GetObject", "genomics-raw")
}

test_buckets_themselves_are_the_owners if {
	every action in ["s3:CreateBucket", "s3:DeleteBucket", "s3:PutBucketPolicy", "s3:ListAllMyBuckets"] {
		not team_buckets.allow with input as ask(["genomics"], action, "genomics-raw")
	}
}

test_our_networks if {
	every address in ["10.255.0.1", "192.168.7.7", "fd00::1", "[fd00::1]"] {
		team_buckets.allow with input as from([address])
	}
}

test_elsewhere_is_refused if {
	every addresses in [["11.0.0.1"], ["2001:db8::1"], [""], ["10.0.0.0.1"], [], null, ["10.1.2.3", "11.0.0.1"]] {
		not team_buckets.allow with input as from(addresses)
	}
}

test_without_an_address_is_refused if {
	not team_buckets.allow with input as object.remove(from([]), ["conditions"])
}

test_anonymous_is_refused if {
	team_buckets.allow with input as ask(["genomics"], "s3:GetObject", "genomics-raw")
	not team_buckets.allow with input as object.union(
		ask(["genomics"], "s3:GetObject", "genomics-raw"),
		{"account": ""},
	)
	not team_buckets.allow with input as object.union(
		object.remove(ask([], "s3:GetObject", "genomics-raw"), ["claims"]),
		{"account": "", "claims": {}, "conditions": {"principaltype": ["Anonymous"]}},
	)
}

test_a_client_has_the_groups_of_the_table if {
	team_buckets.allow with input as claiming({"azp": "s3-nightly"}, "s3:GetObject", "scans-2026")
	not team_buckets.allow with input as claiming({"azp": "s3-nightly"}, "s3:PutObject", "scans-2026")
	not team_buckets.allow with input as claiming({"azp": "s3-nightly"}, "s3:GetObject", "genomics-raw")
	every azp in ["S3-nightly", "", "*", null, ["s3-nightly"], {"s3-nightly": true}] {
		not team_buckets.allow with input as claiming({"azp": azp}, "s3:GetObject", "scans-2026")
	}
}

test_policy_readonly_only_reads if {
	every policy in ["readonly", "readwrite, readonly", ["readwrite", "readonly"]] {
		claims := {"groups": ["genomics"], "policy": policy}
		team_buckets.allow with input as claiming(claims, "s3:GetObject", "genomics-raw")
		not team_buckets.allow with input as claiming(claims, "s3:PutObject", "genomics-raw")
	}
}

test_policy_alone_opens_nothing if {
	every policy in ["readwrite", "consoleAdmin", ["readwrite"]] {
		not team_buckets.allow with input as claiming({"policy": policy}, "s3:GetObject", "genomics-raw")
	}
}

test_an_ended_session_is_refused if {
	team_buckets.allow with input as at(["1800000899"])
	every epochs in [["1800000900"], ["1800000901"], [], null, ["soon"], ["1", "1800000000"]] {
		not team_buckets.allow with input as at(epochs)
	}
}

test_an_end_that_is_no_number_is_refused if {
	every exp in ["1800000900", null, true, [], {}] {
		not team_buckets.allow with input as claiming(
			{"groups": ["genomics"], "exp": exp},
			"s3:GetObject",
			"genomics-raw",
		)
	}
	not team_buckets.allow with input as json.remove(
		ask(["genomics"], "s3:GetObject", "genomics-raw"),
		["/claims/exp"],
	)
}

test_delete_objects_is_judged_key_by_key if {
	question := object.union(
		ask(["genomics"], "s3:DeleteObject", "genomics-raw"),
		{"conditions": {"delete": [""]}},
	)
	every key in ["a", "b/c"] {
		team_buckets.allow with input as object.union(question, {"object": key})
		not team_buckets.allow with input as object.union(question, {"object": key, "bucket": "imaging-a"})
	}
}

test_a_copy_needs_its_source_too if {
	copying := {"conditions": {"X-Amz-Copy-Source": ["/imaging-a/secret"]}}
	team_buckets.allow with input as object.union(ask(["genomics"], "s3:PutObject", "genomics-raw"), copying)
	not team_buckets.allow with input as object.union(ask(["genomics"], "s3:GetObject", "imaging-a"), copying)
	both := ["genomics", "imaging"]
	team_buckets.allow with input as object.union(ask(both, "s3:GetObject", "imaging-a"), copying)
}

test_deny_only_opens_nothing if {
	not team_buckets.allow with input as object.union(
		ask(["genomics"], "s3:GetObject", "imaging-a"),
		{"denyOnly": true},
	)
}
