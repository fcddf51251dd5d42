"""An app whose pages are kept until what they show changes.

uvicorn --app-dir examples/python shop_app:app
"""

import os
from datetime import timedelta

from fastapi import FastAPI, HTTPException
from pantler.fastapi import CachedRoute, PantlerClient, ResponseCache, pantler_lifespan

database: dict[int, dict[str, str | int]] = {1: {"name": "Tea", "cents": 300}}

app = FastAPI(lifespan=pantler_lifespan(os.environ.get("PANTLER_ADDRESS", "127.0.0.1:50051")))
app.router.route_class = CachedRoute


@app.get("/products/{product_id}")
@ResponseCache("shop", ttl=timedelta(minutes=5), tags=["product:{product_id}"])
async def product(product_id: int) -> dict[str, str | int]:
    print(f"making the page of {product_id}")
    if product_id not in database:
        raise HTTPException(404)  # is not kept
    return database[product_id]


@app.put("/products/{product_id}")
async def set_price(product_id: int, cents: int, client: PantlerClient) -> None:
    database[product_id]["cents"] = cents
    await client.invalidate_tags("shop", [f"product:{product_id}"])
