"""S3 as a language: what a request is, what it asks for, who signed it, and the bodies that are read or written. Pure.

head -- request --> S3Request -- authenticate --> Caller;  S3Request -- operations --> Operation -- actions --> the IAM actions it needs
context    what a policy may ask about a request          payload, decoding   bodies in aws-chunked, read whole or sent without it
xml, multipart, post_policy    the few documents          dialect, reserved   what other stores take for something else, and what is never a bucket
"""
