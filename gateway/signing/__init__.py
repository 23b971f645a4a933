"""What proves a request and its bytes: AWS Signature Version 4, aws-chunked, checksums. Pure.

sigv4       what a request claims, canonicalized; sign, compare                digests    SHA-256 and HMAC, from our own C where it was built
chunked     aws-chunked, verified while it crosses                             checksums  every digest that S3 knows
chunk_chain the signatures of its chunks        envelope  what leaves of it: the body as it came, or its payload alone
"""
