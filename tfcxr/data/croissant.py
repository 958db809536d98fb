"""`croissant.json` beside the shards: a data folder in Croissant 1.1, MLCommons' JSON-LD for data sets.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html. It is made of `dataset_info.json` alone, so that it
holds no path, no date and nothing of a patient. No reader of Croissant opens TFRecord files: the file lets a catalogue
find a data set, tells people what it holds and under which licence, and gives each shard's checksum.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tfcxr.data.schema import FEATURES, OPTIONAL_FEATURES, SCHEMA_VERSION, DatasetInfo

CROISSANT_FILE = "croissant.json"
CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
TFRECORD_FORMAT = "https://www.tensorflow.org/tutorials/load_data/tfrecord"  # it has no MIME type
CROISSANT_TERMS = """
    annotation arrayShape citeAs column containedIn equivalentProperty excludes extract field fileObject
    fileProperty fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path readLines
    recordSet references regex repeated replace samplingRate sdVersion separator source subField transform
    unArchive value
"""
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
    **{term: f"cr:{term}" for term in CROISSANT_TERMS.split()},
}
SPLIT_MEANINGS = {"train": "cr:TrainingSplit", "validation": "cr:ValidationSplit", "test": "cr:TestSplit"}
FIELDS = {  # feature of a record -> data type, meaning
    "image/height": ("cr:Int64", "Pixels."),
    "image/width": ("cr:Int64", "Pixels."),
    "image/key": ("sc:Text", "Name of the image, unique in the data set; of a patient's image a salted hash."),
    "patient/key": (
        "sc:Text",
        "Salted hash of the patient, equal for all images of one; the image's own if generated.",
    ),
    "view": ("sc:Text", "PA, AP or LATERAL."),
    "patient/sex": ("sc:Text", "F or M."),
    "patient/age": ("cr:Float32", "Years; ages above 89 are stored as 90."),
}


def croissant_text(info: DatasetInfo) -> str:
    """The text of `croissant.json`; who publishes the data adds `creator`, `datePublished` and their own `url`."""
    info = DatasetInfo.from_json(info.to_json())  # names in the order of the file, so that it gives the same text
    source, homepage = info.source, info.source.get("homepage", "")
    metadata = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": info.name,
        "description": _description(info),
        "version": f"{SCHEMA_VERSION}.0.0+{info.shards_sha256[:12]}",
        "license": source.get("licence", "").splitlines() or ["not stated"],
        "citeAs": source.get("citation", ""),
        "url": homepage if homepage.startswith("http") and "\n" not in homepage else "",
        "keywords": ["radiograph", "medical imaging", *(["synthetic"] if info.is_synthetic else []), *info.label_names],
        **_provenance(info.is_synthetic, info.provenance),
        "distribution": _distribution(info),
        "recordSet": list(_record_sets(info)),
    }
    return json.dumps({name: value for name, value in metadata.items() if value}, indent=2) + "\n"


def shard_checksums(text: str) -> dict[str, str]:
    """File name -> SHA-256 of each file that a `croissant.json` describes.

    Raises:
      ValueError: it is not JSON, or describes no files.
    """
    try:
        files = json.loads(text)["distribution"]
        return {str(file["name"]): file["sha256"] for file in files if file["@type"] == "cr:FileObject"}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"it describes no files ({type(error).__name__})") from error


def _description(info: DatasetInfo) -> str:
    kind = "Synthetic radiographs, made by a generator" if info.is_synthetic else "Radiographs"
    if info.provenance.get("mixes_synthetic_and_real"):
        kind = "Radiographs of patients and synthetic ones"
    exclusive = "exactly one is 1 for each image" if info.is_single_label else "any number is 1 for each image"
    labels = f"labels {', '.join(info.label_names)} ({exclusive})" if info.label_names else "no labels"
    return (
        f"{kind}: {info.images_written} grey images of {info.image_size} x {info.image_size} pixels and {info.bits} "
        f"bits with {labels}, as TFRecord files of tf.train.Example. dataset_info.json beside them holds every step "
        f"from the raw files to the records. {info.notice}"
    ).strip()


def _provenance(is_synthetic: bool, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What the data were derived from and, for synthetic ones, which model generated them."""
    if inputs := provenance.get("inputs"):
        return {"prov:wasDerivedFrom": [_input(entry) for entry in inputs.values()]}
    if not is_synthetic:
        return {}
    name = provenance.get("saved_model") or provenance.get("model", "unknown")
    facts = {
        fact: provenance[fact] for fact in ("steps", "seed", "truncation", "acceptance_rate") if fact in provenance
    }
    generator = {"@type": ["prov:Entity", "SoftwareApplication"], "name": name}
    if "weights_sha256" in provenance:
        generator |= {"sha256": provenance["weights_sha256"]}
    activity = {
        "@type": "prov:Activity",
        "prov:label": f"generated by {name}",
        "description": ", ".join(f"{fact} {value}" for fact, value in facts.items()),
        "prov:used": generator,
    }
    training = provenance.get("training_data", {})
    entity = {"@type": "prov:Entity", "name": training.get("name", "unknown")}
    entity |= {"description": f"training data of the generator, split {training.get('split', 'unknown')}"}
    return {"prov:wasGeneratedBy": activity, "prov:wasDerivedFrom": entity}


def _input(entry: Mapping[str, Any]) -> dict[str, Any]:
    """One set of a merge."""
    kind = "synthetic" if entry["is_synthetic"] else "of patients"
    return {
        "@type": "prov:Entity",
        "name": entry["dataset"],
        "description": f"{entry['images_written']} images, {kind}",
        **_provenance(entry["is_synthetic"], entry["provenance"]),
    }


def _distribution(info: DatasetInfo) -> list[dict[str, Any]]:
    files = [
        {
            "@type": "cr:FileObject",
            "@id": shard.file,
            "name": shard.file,
            "description": f"{shard.images} records of split {name}.",
            "contentUrl": shard.file,
            "contentSize": f"{shard.bytes} B",
            "encodingFormat": TFRECORD_FORMAT,
            "sha256": shard.sha256,
        }
        for name, split in info.splits.items()
        for shard in split.shards
    ]
    every = {"@type": "cr:FileSet", "@id": "shards", "name": "shards", "description": "All shards of all splits."}
    return [*files, every | {"encodingFormat": TFRECORD_FORMAT, "includes": "*.tfrecord"}]


def _record_sets(info: DatasetInfo) -> Iterator[dict[str, Any]]:
    splits = [
        (name, SPLIT_MEANINGS.get(name, "cr:Split"), split.images, split.patients)
        for name, split in info.splits.items()
    ]
    types = {"name": "sc:Text", "url": "sc:URL", "images": "sc:Integer", "patients": "sc:Integer"}
    yield _table("splits", "cr:Split", "No patient is in two splits.", types, splits)
    if info.label_names:
        rows = [(name, column) for column, name in enumerate(info.label_names)]
        types = {"name": "sc:Text", "column": "sc:Integer"}
        yield _table("labels", "sc:Enumeration", "Columns of records/label.", types, rows)
    stored = "a PNG file" if info.encoding == "png" else f"little-endian uint{info.bits}, row by row"
    fields = {"image/bytes": ("sc:ImageObject", f"Grey pixels, {stored}."), **FIELDS}
    if info.label_names:
        fields["label"] = ("cr:Float32", "1 present, 0 absent, NaN unknown; in the order of labels/column.")
    split = _field("records", "split", "sc:Text", "Of the file's name.", {"fileProperty": "filename"})
    split["source"]["transform"] = {"regex": r"^(.+)-\d{5}-of-\d{5}\.tfrecord$"}
    yield {
        "@type": "cr:RecordSet",
        "@id": "records",
        "name": "records",
        "description": "One tf.train.Example per image.",
        "key": {"@id": "records/image/key"},
        "field": [
            split | {"references": {"field": {"@id": "splits/name"}}},
            *(
                _field(
                    "records",
                    feature,
                    fields[feature][0],
                    fields[feature][1] + " Left out where unknown." * (feature in OPTIONAL_FEATURES),
                    {"column": feature},
                )
                | ({"isArray": True, "arrayShape": str(len(info.label_names))} if feature == "label" else {})
                for feature in FEATURES
                if feature in fields
            ),
        ],
    }


def _field(record_set: str, name: str, data_type: str, description: str, extract: Mapping[str, str]) -> dict[str, Any]:
    """A field that is read from the shards."""
    return {
        "@type": "cr:Field",
        "@id": f"{record_set}/{name}",
        "name": name,
        "description": description,
        "dataType": data_type,
        "source": {"fileSet": {"@id": "shards"}, "extract": dict(extract)},
    }


def _table(
    name: str, data_type: str, description: str, types: Mapping[str, str], rows: Sequence[Sequence[Any]]
) -> dict[str, Any]:
    """A record set whose rows stand in the file itself."""
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "dataType": data_type,
        "key": {"@id": f"{name}/name"},
        "field": [
            {"@type": "cr:Field", "@id": f"{name}/{column}", "name": column, "dataType": kind}
            for column, kind in types.items()
        ],
        "data": [dict(zip([f"{name}/{column}" for column in types], row, strict=True)) for row in rows],
    }
