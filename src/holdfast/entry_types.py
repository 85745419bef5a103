"""The frozen table of primitive ids and entry-type ranges. A number that was released is never given another meaning.

    range        primitive   id     entries
    0x00-0x0F    core        0      define 0x00 (primitives of users), snapshot 0x01, opaque 0x02, commit 0x03,
                                    keep 0x04, expire 0x05, remove 0x06, forgotten 0x07, scrub 0x08,
                                    drop journal 0x09, drop space 0x0A
    0x10-0x1F    kv          1      put 0x10, delete 0x11
    0x20-0x2F    json        2      create 0x20, set 0x21, delete 0x22, patch 0x23
    0x30-0x3F    event       3      append 0x30, trim 0x31
    0x40-0x4F    state       4      init 0x40, set 0x41, transition 0x42, delete 0x43, compare and set 0x44
    0x50-0x5F    trace       5      record 0x50, end 0x51, update 0x52, delete 0x53
    0x60-0x6F    run         6      create 0x60, update 0x61, end 0x62, begin 0x63
    0x70-0x7F    vector      7      insert 0x70, delete 0x71, update 0x72, create_collection 0x73, drop_collection 0x74
    0x80-0x8F    memory      8      store 0x80, update 0x81, delete 0x82, restore 0x83, purge 0x84
    0x90-0x9F    segment     9      store 0x90, update 0x91, delete 0x92, restore 0x93, purge 0x94
    0xA0-0xAF    intent      10     persist 0xA0, update 0xA1, delete 0xA2, restore 0xA3, purge 0xA4, transition 0xA5,
                                    link 0xA6, unlink 0xA7
    0xB0-0xBF    reserved
    0xC0-0xFF    yours       64..   primitives that users register

Pure numbers: who folds an entry is the registry's business.
"""

from __future__ import annotations

from types import MappingProxyType

PRIMITIVE_IDS = MappingProxyType(
    {
        "core": 0,
        "kv": 1,
        "json": 2,
        "event": 3,
        "state": 4,
        "trace": 5,
        "run": 6,
        "vector": 7,
        "memory": 8,
        "segment": 9,
        "intent": 10,
    }
)
TYPES_PER_PRIMITIVE = 16
USER_PRIMITIVE_ID_FIRST = 64
USER_ENTRY_TYPE_FIRST = 0xC0
ENTRY_TYPE_LAST = 0xFF
PRIMITIVE_ID_LAST = 255

CORE_DEFINE, CORE_SNAPSHOT, CORE_OPAQUE, CORE_COMMIT = 0x00, 0x01, 0x02, 0x03
CORE_KEEP, CORE_EXPIRE, CORE_REMOVE = 0x04, 0x05, 0x06
CORE_FORGOTTEN, CORE_SCRUB, CORE_DROP_JOURNAL, CORE_DROP_SPACE = 0x07, 0x08, 0x09, 0x0A
KV_PUT, KV_DELETE = 0x10, 0x11
JSON_CREATE, JSON_SET, JSON_DELETE, JSON_PATCH = 0x20, 0x21, 0x22, 0x23
EVENT_APPEND, EVENT_TRIM = 0x30, 0x31
STATE_INIT, STATE_SET, STATE_TRANSITION, STATE_DELETE, STATE_SWAP = 0x40, 0x41, 0x42, 0x43, 0x44
TRACE_RECORD, TRACE_END, TRACE_UPDATE, TRACE_DELETE = 0x50, 0x51, 0x52, 0x53
RUN_CREATE, RUN_UPDATE, RUN_END, RUN_BEGIN = 0x60, 0x61, 0x62, 0x63
VECTOR_INSERT, VECTOR_DELETE, VECTOR_UPDATE = 0x70, 0x71, 0x72
VECTOR_CREATE_COLLECTION, VECTOR_DROP_COLLECTION = 0x73, 0x74
MEMORY_STORE, MEMORY_UPDATE, MEMORY_DELETE, MEMORY_RESTORE, MEMORY_PURGE = 0x80, 0x81, 0x82, 0x83, 0x84
INTENT_PERSIST, INTENT_UPDATE, INTENT_DELETE, INTENT_RESTORE, INTENT_PURGE = 0xA0, 0xA1, 0xA2, 0xA3, 0xA4
INTENT_TRANSITION, INTENT_LINK, INTENT_UNLINK = 0xA5, 0xA6, 0xA7
SEGMENT_STORE, SEGMENT_UPDATE, SEGMENT_DELETE, SEGMENT_RESTORE, SEGMENT_PURGE = 0x90, 0x91, 0x92, 0x93, 0x94


def entry_range(primitive_id: int) -> range:
    """Return the entry types that a primitive may use; those of users share 0xC0-0xFF."""
    if primitive_id >= USER_PRIMITIVE_ID_FIRST:
        return range(USER_ENTRY_TYPE_FIRST, ENTRY_TYPE_LAST + 1)
    first = primitive_id * TYPES_PER_PRIMITIVE
    return range(first, first + TYPES_PER_PRIMITIVE)
