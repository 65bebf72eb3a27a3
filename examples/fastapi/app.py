"""A small shop whose prices, and whose till, are behind flags."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel
from statsig import StatsigUser

from flags import Flags

# What the shop sells for when nobody has said otherwise.
PRICES = {"free": 0, "basic": 10, "pro": 50}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.flags = Flags.from_environment()
    app.state.flags.start()
    yield
    app.state.flags.stop()


app = FastAPI(title="Shop", lifespan=lifespan)


def flags(request: Request) -> Flags:
    """The service's flags; tests override this dependency."""
    return request.app.state.flags


def visitor(x_user: Annotated[str, Header()], x_email: Annotated[str | None, Header()] = None) -> StatsigUser:
    """Who asks, as whatever stands in front of the service has found out. The
    address decides rules and is not stored."""
    return StatsigUser(x_user, private_attributes={"email": x_email} if x_email else None)


Visitor = Annotated[StatsigUser, Depends(visitor)]
FlagsOf = Annotated[Flags, Depends(flags)]


@app.get("/pricing")
def pricing(user: Visitor, flags: FlagsOf) -> dict:
    """The price list: the new one for those who are to see it."""
    if not flags.enabled("new_pricing", user):
        return {"list": "old", "prices": PRICES}
    return {"list": "new", "prices": flags.settings("price_list", user, default=PRICES)}


class Order(BaseModel):
    plan: str


def till_is_open(user: Visitor, flags: FlagsOf) -> None:
    """A kill switch: while the gate is off, nobody gets as far as the payment."""
    if not flags.enabled("payments", user):
        raise HTTPException(503, "Payments are closed for the moment. Nothing was charged.", {"Retry-After": "60"})


@app.post("/orders", status_code=201, dependencies=[Depends(till_is_open)])
def order(order: Order, user: Visitor, flags: FlagsOf) -> dict:
    prices = pricing(user, flags)["prices"]
    if order.plan not in prices:
        raise HTTPException(404, f"There is no plan {order.plan}.")
    price = prices[order.plan]
    flags.happened("order", user, price, plan=order.plan)
    return {"plan": order.plan, "price": price}
