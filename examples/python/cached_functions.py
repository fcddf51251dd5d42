"""Functions whose results are kept, with tags for what they show."""

import asyncio
import os
from dataclasses import dataclass
from datetime import timedelta

import pantler
from pantler import codecs


@dataclass(frozen=True)
class Product:
    name: str
    cents: int


database = {1: Product("Tea", 300), 2: Product("Coffee", 400)}

client = pantler.AsyncClient(os.environ.get("PANTLER_ADDRESS", "127.0.0.1:50051"))
products = client.namespace("products", codec=codecs.of(Product), ttl=timedelta(minutes=5))
lists = client.namespace("lists", codec=codecs.of(list[Product]), ttl=timedelta(minutes=5))


@products.cached("product:{product_id}", tags=["product:{product_id}"])
async def load_product(product_id: int) -> Product:
    print(f"loading product {product_id}")
    return database[product_id]


@lists.cached("cheapest:{count}", tags=["products"])
async def load_cheapest(count: int) -> list[Product]:
    print(f"loading the {count} cheapest")
    return sorted(database.values(), key=lambda product: product.cents)[:count]


async def set_price(product_id: int, cents: int) -> None:
    """First the source, then the cache: a load that began before keeps nothing."""
    database[product_id] = Product(database[product_id].name, cents)
    await products.invalidate_tags([f"product:{product_id}"])
    await lists.invalidate_tags(["products"])


async def main() -> None:
    async with client:
        await set_price(1, 300)  # so that the program can be run again
        for _ in range(2):
            print(await load_product(1), await load_cheapest(1))
        await set_price(1, 500)
        print(await load_product(1), await load_cheapest(1))


asyncio.run(main())
