"""A system of record for Pantler: pantler.origin.v1.OriginService over a table of SQLite."""

import asyncio
import json
import sqlite3
import sys

import grpc.aio
from google.protobuf.json_format import MessageToDict
from pantler.origin.v1 import origin_pb2, origin_pb2_grpc

TABLE = "CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, fields TEXT, version INTEGER)"


class Users(origin_pb2_grpc.OriginServiceServicer):
    """A row without fields is a record that was removed: it stays for its version, so that an older
    write that comes late does not bring the record back."""

    def __init__(self, file: str) -> None:
        self.db = sqlite3.connect(file, isolation_level=None)  # each statement commits by itself
        self.db.execute(TABLE)

    def find(self, key):
        """The record, None if there is none; and the version of the last write of the key."""
        row = self.db.execute("SELECT fields, version FROM users WHERE id = ?", (key,)).fetchone()
        if row is None:
            return None, 0
        return row[0] and json.loads(row[0]), row[1]

    def save(self, key, fields, version):
        saved = None if fields is None else json.dumps(fields)
        self.db.execute("REPLACE INTO users VALUES (?, ?, ?)", (key, saved, version))

    async def Load(self, request, context):
        record, _ = self.find(request.key)
        return origin_pb2.LoadResponse(record=record)

    async def LoadBatch(self, request, context):
        response = origin_pb2.LoadBatchResponse()
        for key in request.keys:
            record, _ = self.find(key)
            if record is not None:
                response.records[key].update(record)
        return response

    async def Store(self, request, context):
        record, version = self.find(request.key)
        if request.version <= version:  # a repeat, or from a worker that was taken for dead
            return origin_pb2.StoreResponse(record=record)
        fields = MessageToDict(request.fields)
        if "name" in fields and not fields["name"]:  # a rule of ours
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a user must have a name")
        match request.operation:
            case origin_pb2.STORE_OPERATION_INSERT if record is not None:
                await context.abort(grpc.StatusCode.ALREADY_EXISTS)
            case origin_pb2.STORE_OPERATION_UPDATE if record is None:
                await context.abort(grpc.StatusCode.NOT_FOUND)
            case origin_pb2.STORE_OPERATION_UPDATE:
                fields = {**record, **fields}
        self.save(request.key, fields, request.version)
        return origin_pb2.StoreResponse(record=fields)

    async def Remove(self, request, context):
        record, version = self.find(request.key)
        if request.version > version:
            self.save(request.key, None, request.version)
        return origin_pb2.RemoveResponse(removed=record is not None)


async def serve(file: str, address: str) -> None:
    server = grpc.aio.server()
    origin_pb2_grpc.add_OriginServiceServicer_to_server(Users(file), server)
    port = server.add_insecure_port(address)
    await server.start()
    print(f"serving {file} on port {port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2]))
