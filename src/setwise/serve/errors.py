"""What a request is refused by: a status, one line, and no more."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request

#: Characters of a message; what a request holds is not repeated at length.
_LONG = 400


class Refusal(BaseModel):
    """Why a request was refused."""

    message: str
    detail: str
    request_id: str


class Refused(Exception):
    """A request that is not answered.

    Parameters
    ----------
    message : str
        One line that names the field and the mend.
    headers : mapping, optional
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})
        self.message = " ".join(message.split())[:_LONG]


def problem(request_id: str, refused: Refused) -> JSONResponse:
    """Return the answer that tells why a request was refused, in the fields that clients look for it in."""
    told = Refusal(message=refused.message, detail=refused.message, request_id=request_id)
    return JSONResponse(told.model_dump(), refused.status, refused.headers)


def refused_by(error: Exception) -> Refused:
    """Return how an error of what a request asks for is told.

    Raises Exception: the error itself, where it is a defect.
    """
    if isinstance(error, Refused):
        return error
    if isinstance(error, ValueError | TypeError | KeyError):
        return Refused(422, str(error.args[0]) if error.args else type(error).__name__)
    raise error


def answer_errors(app: FastAPI) -> None:
    """Let an application tell what it refuses in one way."""

    async def refused(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, HTTPException):
            error = Refused(error.status_code, str(error.detail), error.headers)
        assert isinstance(error, Refused)
        return problem(request.scope["setwise.request"], error)

    for kind in (Refused, HTTPException):
        app.add_exception_handler(kind, refused)
