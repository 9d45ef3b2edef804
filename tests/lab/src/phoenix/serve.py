# Phoenix listens for gRPC on all interfaces and has no setting for it. Here it is for this machine only.
import runpy
import sys

import grpc.aio

make = grpc.aio.server


def on_loopback(*arguments, **options):
    server = make(*arguments, **options)
    add = server.add_insecure_port
    server.add_insecure_port = lambda address: add(address.replace("[::]", "127.0.0.1"))
    return server


grpc.aio.server = on_loopback
sys.argv = ["phoenix", "serve"]
runpy.run_module("phoenix.server.main", run_name="__main__")
