"""S3's errors: class name = wire code, class attributes = status and message.

A subclass exists only for what *we* raise; the backend's own errors pass through as bytes. `render` is the one
place where an error becomes an XML document (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
Keywords given to the constructor become extra XML elements. `reason` is for the log, never for the client.
"""

from __future__ import annotations

from typing import ClassVar
from xml.sax.saxutils import escape

from iam.model import AccessRequest


class S3Error(Exception):
    """The base of all errors that an S3 client may see."""

    status: ClassVar[int] = 500
    message: ClassVar[str] = "We encountered an internal error. Please try again."

    def __init__(self, message: str | None = None, *, reason: str = "", **elements: str) -> None:
        self.text = message or self.message
        self.reason = reason
        self.elements = elements
        super().__init__(f"{self.code}: {self.text}" + (f" ({reason})" if reason else ""))

    @property
    def code(self) -> str:
        """Return the wire code: the name of the class."""
        return type(self).__name__


class AccessDenied(S3Error):
    """What a policy refuses; `asked` is the question that it answered so, None where nobody was asked. Never for the client."""

    status = 403
    message = "Access Denied."

    def __init__(
        self, message: str | None = None, *, reason: str = "", asked: AccessRequest | None = None, **elements: str
    ) -> None:
        super().__init__(message, reason=reason, **elements)
        self.asked = asked


class AuthorizationHeaderMalformed(S3Error):
    status = 400
    message = "The authorization header that you provided is not valid."


class AuthorizationQueryParametersError(S3Error):
    status = 400
    message = "The authorization query parameters that you provided are not valid."


class BadDigest(S3Error):
    status = 400
    message = "The Content-MD5 or checksum you specified did not match what we received."


class BadRequest(S3Error):
    status = 400
    message = "Bad Request"


class EntityTooLarge(S3Error):
    status = 400
    message = "Your proposed upload exceeds the maximum allowed object size."


class EntityTooSmall(S3Error):
    status = 400
    message = "Your proposed upload is smaller than the minimum allowed object size."


class ExpiredToken(S3Error):
    status = 400
    message = "The provided token has expired."


class IncompleteBody(S3Error):
    status = 400
    message = "You did not provide the number of bytes specified by the Content-Length HTTP header."


class InternalError(S3Error):
    status = 500
    message = "We encountered an internal error. Please try again."


class InvalidAccessKeyId(S3Error):
    status = 403
    message = "The Access Key Id you provided does not exist in our records."


class InvalidArgument(S3Error):
    status = 400
    message = "Invalid Argument."


class InvalidBucketName(S3Error):
    status = 400
    message = "The specified bucket is not valid."


class InvalidDigest(S3Error):
    status = 400
    message = "The Content-MD5 you specified is not valid."


class InvalidPolicyDocument(S3Error):
    status = 400
    message = "The content of the form does not meet the conditions specified in the policy document."


class InvalidRequest(S3Error):
    status = 400
    message = "Invalid Request."


class InvalidTag(S3Error):
    status = 400
    message = "The tag provided was not a valid tag."


class InvalidTokenId(S3Error):
    status = 403
    message = "The security token included in the request is invalid."


class InvalidURI(S3Error):
    status = 400
    message = "Couldn't parse the specified URI."


class KeyTooLongError(S3Error):
    status = 400
    message = "Your key is too long."


class MalformedPOSTRequest(S3Error):
    status = 400
    message = "The body of your POST request is not well-formed multipart/form-data."


class MalformedXML(S3Error):
    status = 400
    message = "The XML you provided was not well-formed or did not validate against our published schema."


class MaxPostPreDataLengthExceeded(S3Error):
    status = 400
    message = "Your POST request fields preceding the upload file were too large."


class MethodNotAllowed(S3Error):
    status = 405
    message = "The specified method is not allowed against this resource."


class MissingContentLength(S3Error):
    status = 411
    message = "You must provide the Content-Length HTTP header."


class NoSuchBucket(S3Error):
    status = 404
    message = "The specified bucket does not exist."


class NotImplemented(S3Error):  # noqa: A001 - S3's own code
    status = 501
    message = "A header or query you provided implies functionality that is not implemented."


class PreconditionFailed(S3Error):
    status = 412
    message = "At least one of the pre-conditions you specified did not hold."


class RequestHeaderSectionTooLarge(S3Error):
    status = 400
    message = "Your request header section exceeds the maximum allowed size."


class RequestTimeTooSkewed(S3Error):
    status = 403
    message = "The difference between the request time and the server's time is too large."


class RequestTimeout(S3Error):
    status = 400
    message = "Your socket connection to the server was not read from or written to within the timeout period."


class ServiceUnavailable(S3Error):
    status = 503
    message = "Service is unable to handle request."


class SignatureDoesNotMatch(S3Error):
    status = 403
    message = "The request signature we calculated does not match the signature you provided. Check your key and signing method."


class SlowDown(S3Error):
    status = 503
    message = "Please reduce your request rate."


class XAmzContentSHA256Mismatch(S3Error):
    status = 400
    message = "The provided 'x-amz-content-sha256' header does not match what was computed."


def render(error: S3Error, *, resource: str, request_id: str) -> bytes:
    """Return the XML document of an error (UTF-8); the caller leaves it out for HEAD (RFC 9110 section 9.3.2)."""
    fields = {
        "Code": error.code,
        "Message": error.text,
        **error.elements,
        "Resource": resource,
        "RequestId": request_id,
    }
    inner = "".join(f"<{name}>{escape(xml_text(value))}</{name}>" for name, value in fields.items())
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}<HostId></HostId></Error>'.encode()


def xml_text(value: str) -> str:
    """Replace what XML 1.0 cannot carry (section 2.2), so that a hostile key cannot break the document."""
    return "".join(
        c if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff" else "�" for c in value
    )
