"""The request's story: who, what, may they, then a plan. Pure: whoever carries a plan out is elsewhere (`turns`).

    story --> plans.Forward | Reply | what must be awaited first
    case       one verified request before the authorizer     forward   the request to the backend, rebuilt from the one that was verified
    answers    what of the backend's answer a client sees

Stories of their own, since a body or an answer decides: copying, deletion, documents, listings, post_form; and cors, which nobody signs.
"""
