module minio-gw/bench/reverseproxy

go 1.19
