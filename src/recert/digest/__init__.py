"""Canonical JSON, sha256 of bytes and files, and the files of folders hashed on all cores."""

from recert.digest.canonical import canonical_json, sha256_bytes, sha256_json
from recert.digest.files import FileHash, Stamp, hash_file, sha256_file
from recert.digest.folders import hash_folders, list_files, list_folder, read_folders

__all__ = [
    "FileHash",
    "Stamp",
    "canonical_json",
    "hash_file",
    "hash_folders",
    "list_files",
    "list_folder",
    "read_folders",
    "sha256_bytes",
    "sha256_file",
    "sha256_json",
]
