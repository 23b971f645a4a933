package team_buckets_test

import data.team_buckets

ask(groups, action, bucket) := {
	"account": "TEMPORARYKEY",
	"owner": false,
	"action": action,
	"bucket": bucket,
	"object": "a/b",
	"conditions": {"SourceIp": ["10.1.2.3"]},
	"claims": {"sub": "somebody", "groups": groups},
	"groups": null,
	"denyOnly": false,
}

from(addresses) := object.union(
	ask(["genomics"], "s3:GetObject", "genomics-raw"),
	{"conditions": {"SourceIp": addresses}},
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
	every groups in ["genomics", null, {"genomics": true}, [["genomics"]], ["genomics "], ["gen*"]] {
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
