"""TensorFlow Serving's protocol and Open Inference Protocol V2 over gRPC and REST, and a web page (extra `serving`)."""
