"""How many images one answer of a server may hold."""

CLIENT_LIMIT = 4 * 2**20  # bytes of a message that gRPC's clients take by default
HEAD = 1024  # bytes of an answer beside its images, at most
FACTS = 192  # bytes that an answer says of an image, such as `realism`, and a PNG file's header
PNG_OVERHEAD = 1.004  # noise, which does not compress, as a PNG file
TEXT = """A gRPC client takes answers of 4 MB unless told otherwise. {fits}, as `image` or `png_bytes`{latent}.
For more, ask several times or raise its limit:
`grpc.insecure_channel("localhost:8500", options=[("grpc.max_receive_message_length", -1)])`."""


def images_per_answer(height: int, width: int, channels: int) -> int:
    """Images of an answer that always fit into gRPC's default of 4 MiB for a client, as `image` or `png_bytes`.

    A PNG file can be larger than its pixels: it has a further byte per row. Float32 images of `latent` take four times
    the place. 0 where not even one fits.
    """
    file = height * (width * channels + 1) * PNG_OVERHEAD
    return int((CLIENT_LIMIT - HEAD) / (file + FACTS))


def message_size_text(image_size: int, channels: int, has_latent: bool) -> str:
    """The same for a model card; `has_latent` says whether the model has the signature `latent`."""
    count = images_per_answer(image_size, image_size, channels)
    fits = f"Up to {count:,} images of {image_size} x {image_size} pixels always fit"
    latent = f", and {count // 4:,} of `latent`, which are float32" if has_latent else ""
    return TEXT.format(fits=fits, latent=latent)
