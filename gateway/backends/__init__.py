"""Where S3 is: one backend or several, and what the gateway itself asks of them.

endpoints  addresses, as settings say them                backend   an endpoint, its credentials and regions
places     bucket --> backend, name there, prefix         naming    a place applied to a request, undone in what is answered
stores     several backends behind one gateway            merging   ListBuckets over all of them; seal: tokens of pages nobody can write
exchange   one awaited request and its answer             crossing  a copy from one backend to another
regions    which region a bucket is in
"""
