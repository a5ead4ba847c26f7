/* The arena: keyed checkpoints in one shared-memory file. This header is the format, whole; docs/formats.md
 * explains it. Little-endian. The file has its full length from the start, is sparse, and never moves or shrinks:
 *
 *   0                header, one page
 *   ARENA_LOCKS      ARENA_LOCK_COUNT locks of 64 bytes
 *   ARENA_INDEX      the index: ARENA_LEVELS tables of growing size, one of them in use
 *   arena_heap_at()  the heap: records (one per key) and slots (one version each), in units of ARENA_UNIT
 *
 * What is in use in the heap is what the index reaches, and nothing else: there is no list of free space that a
 * process could leave half changed. A version is published by one store of 8 bytes, arena_record.commit. */
#ifndef CPA_ARENA_FORMAT_H
#define CPA_ARENA_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#define ARENA_MAGIC "cpaarena"
#define ARENA_FORMAT 2u
#define ARENA_ENDIAN 0x01020304u

#define ARENA_LINE 64u
#define ARENA_UNIT 128u       /* records begin at its multiples: bucket b is record (b - 1) of the heap */
#define ARENA_KEY_MAX 255u    /* bytes of a key */
#define ARENA_NAME_MAX 255u   /* bytes of a variable's name */
#define ARENA_VARS_MAX 4096u  /* variables of one version */
#define ARENA_SLOTS_MAX 64u   /* slots of one key: versions kept, and the one being written */
#define ARENA_LEVEL_MAX 8u    /* highest level that a version can be carried to */
#define ARENA_HEAP_MIN (UINT64_C(64) << 10)
#define ARENA_HEAP_MAX (UINT64_C(512) << 30)

#define ARENA_LOCKS 4096u
#define ARENA_LOCK_COUNT 1024u /* 0: index and heap; the last: asks with a text; the others: keys, by hash */
#define ARENA_LOCK_ASKS (ARENA_LOCK_COUNT - 1)
#define ARENA_INDEX (ARENA_LOCKS + ARENA_LOCK_COUNT * ARENA_LINE)
#define ARENA_LEVELS 13u       /* tables of the index: table i has ARENA_TABLE0 << i buckets of 4 bytes */
#define ARENA_TABLE0 1024u
#define ARENA_BUCKET_EMPTY 0u
#define ARENA_BUCKET_GONE UINT32_MAX

/* A request that the job leaves for its agent. The job writes the arguments, then asked = asked + 1; the agent
 * carries it out and writes the results, then answered = the number it answers. answered is a futex. Who writes a
 * text holds ARENA_LOCK_ASKS from before that until the answer was read. */
enum arena_ask_kind {
	ARENA_ASK_SNAPSHOT, ARENA_ASK_SAVE, ARENA_ASK_FETCH, ARENA_ASK_REGISTER, ARENA_ASK_VERSION, ARENA_ASKS
};

struct arena_ask {
	uint32_t asked;
	uint32_t answered;
	uint32_t level; /* wanted; 0: as configured, or the nearest */
	int32_t result; /* 0, or the agent's error code; then why says more */
	/* in: a version (0: the newest); of ARENA_ASK_VERSION how long to wait for ranks, in ms (0: as the agent does).
	 * out: the generation taken, or the version fetched or found */
	uint64_t number;
	uint64_t reserved;
	/* fetch: the key; register: the URL; version: the group (empty: the job's own), a line feed, and the key (empty:
	 * every key); terminated */
	char text[384];
	char why[224]; /* terminated */
};
_Static_assert(sizeof(struct arena_ask) == 640, "an ask is ten lines");

enum arena_flag {
	ARENA_SERVED = 1,   /* an agent made this arena, and carries requests out */
	ARENA_RESTORES = 2, /* the program restores from its keys by itself: it can be started anew */
};

/* Does the agent update and save this job by itself? */
enum arena_periodic { ARENA_AS_CONFIGURED = 0, ARENA_PERIODIC = 1, ARENA_ON_DEMAND = 2 };

enum arena_start { ARENA_FRESH = 0, ARENA_FROM_SNAPSHOT = 1, ARENA_FROM_KEYS = 2 };

#define ARENA_GAPS 32u
struct arena_gap {
	uint64_t at, end; /* heap offsets */
};

struct arena_header {
	/* written once, covered by sum */
	char magic[8];
	uint32_t format;
	uint32_t endian;
	uint64_t heap_bytes; /* the budget; every other offset and the file's length follow from it */
	uint32_t lock_bytes; /* what a lock of the C library that made the file takes */
	uint32_t reserved0;
	uint64_t created_ns; /* CLOCK_REALTIME */
	uint64_t sum;        /* XXH3-64 of what stands before it */
	uint64_t boot[2];    /* the boot during which the locks were made; they mean nothing in another */

	/* changed under lock 0 */
	uint32_t table;       /* the table of the index in use */
	uint32_t moves;       /* grows whenever another table takes over */
	uint64_t keys;        /* in the table */
	uint64_t gone;        /* removed buckets in the table */
	uint64_t free_at;     /* heap offset: the run of free space that allocations are cut from … */
	uint64_t free_end;    /* … and its end; empty when free_at >= free_end */
	uint64_t backed;      /* heap offset: below it, memory has been obtained */
	uint8_t pad1[16];

	/* written by the agent */
	uint32_t agent_flags; /* ARENA_SERVED */
	uint32_t incarnation; /* of the job */
	uint32_t start;       /* enum arena_start: how this incarnation began */
	uint32_t give_up;     /* not 0: a snapshot is near; let go of userfaultfds, take none until it is 0 again */
	uint64_t generation;  /* that it began from, for ARENA_FROM_SNAPSHOT */
	uint64_t mtbf_ms;     /* mean time between failures that the agent has seen; 0: not known */
	uint32_t top;         /* the highest level there is; 1: no agent is above this one; 0: not known */
	uint32_t reserved1;
	/* the next version of any key is numbered so at least: ranks that went back together, one of them farther
	 * than the others, go on with equal numbers */
	uint64_t number_from;
	uint8_t pad2[16];

	/* written by the job */
	uint32_t job_flags; /* ARENA_RESTORES */
	uint32_t requests;  /* grows with every request, of a key or below: what the agent compares */
	uint32_t periodic;  /* enum arena_periodic */
	uint32_t uses;      /* grows with every use of a memo: the clock of arena_record.used */
	uint64_t update_ms; /* this job's own intervals; 0: as configured */
	uint64_t save_ms;
	uint8_t pad3[32];

	/* the mailbox */
	struct arena_ask ask[ARENA_ASKS];

	/* changed under lock 0: free runs that the last walk of the index found, for when the current one is used up */
	struct arena_gap gap[ARENA_GAPS]; /* empty when at >= end */
	uint8_t reserved[4096 - 4 * 64 - ARENA_ASKS * sizeof(struct arena_ask) - ARENA_GAPS * sizeof(struct arena_gap) - 8];
	uint64_t end_mark; /* 0 */
};
_Static_assert(sizeof(struct arena_header) == 4096, "the header is one page");

/* Where a slot lies, and how long it may become. length 0: none. The offset is written while length is 0. */
struct arena_extent {
	uint64_t at; /* heap offset */
	uint64_t length;
};

/* One key. Followed by slots × struct arena_extent and its name; begins at a multiple of ARENA_UNIT. */
struct arena_record {
	uint64_t hash;   /* XXH3-64 of the name */
	uint64_t commit; /* newest version << 8 | its slot's number; 0: none */
	uint64_t want;   /* a request: version << 8 | the level to carry it to; 0: none */
	uint8_t slots;   /* number of extents, 2 or more */
	uint8_t name_bytes;
	uint16_t keep;      /* versions kept; 0: one less than there are slots */
	uint32_t held_tick; /* futex: grows whenever held changes */
	/* held[l - 2]: the newest version that level l holds, its low 32 bits. Written by the agent. */
	uint32_t held[ARENA_LEVEL_MAX - 1];
	uint32_t used; /* header.uses when it was last used, where that matters */
};
_Static_assert(sizeof(struct arena_record) == 64, "a record's fixed part is one cache line");

/* How a version's data were gathered. */
enum arena_how {
	ARENA_PLAIN = 0, /* variables that the caller named */
	ARENA_WHOLE = 1, /* protected regions, copied whole */
	ARENA_DIRTY = 2, /* protected regions, of which only the changed blocks were copied */
};

/* One version of a key. Followed by vars × struct arena_desc, the variables' names one after the other, padding
 * to 8 bytes, for block_shift > 0 one XXH3-64 per block of data, for how > ARENA_PLAIN and block_shift > 0 the
 * map (below), padding for block_shift > 0 (to a cache line; with a map, to 4096 bytes), and the data: each
 * variable's elements begin `pad` bytes behind the next multiple of 8 bytes of the data. version is 0 while the
 * slot is being written.
 *
 * The map says for each block, in one byte, in which slot's data area it lies, at the block's own place. So
 * versions share the blocks that did not change: a new version puts a changed block where none of the versions
 * that are kept has it. Only slots whose variables are laid out alike share; without a map, blocks lie in their
 * own slot. */
struct arena_slot {
	uint64_t version;
	uint64_t sum; /* XXH3-64, seeded with hash ^ version, of what follows up to the end of the block sums and map
	                 (block_shift 0: up to the end of the data) */
	int64_t time_ns; /* CLOCK_REALTIME of the commit */
	uint32_t incarnation;
	uint16_t vars;
	uint8_t block_shift; /* 0, or log2 of the bytes that one block sum covers */
	uint8_t how;         /* enum arena_how */
	uint64_t bytes;      /* of data */
};
_Static_assert(sizeof(struct arena_slot) == 40, "a slot's fixed part has no holes");

struct arena_desc {
	uint64_t count; /* of elements */
	uint8_t type;   /* enum arena_type */
	uint8_t name_bytes;
	uint16_t reserved0;
	uint32_t pad; /* below 4096: so that pages of a protected region are blocks here; zeros */
};
_Static_assert(sizeof(struct arena_desc) == 16, "a descriptor has no holes");

/* Element types. The numbers are part of the format; never reuse one. */
enum arena_type {
	ARENA_I8 = 1, ARENA_U8, ARENA_I16, ARENA_U16, ARENA_I32, ARENA_U32, ARENA_I64, ARENA_U64,
	ARENA_F32 = 9, ARENA_F64,
	ARENA_F80 = 11,  /* x87 extended, in 16 bytes */
	ARENA_F128 = 12, /* IEEE quad */
	ARENA_C32 = 13, ARENA_C64, /* complex: two F32, two F64 */
	ARENA_C80 = 15, ARENA_C128, /* complex: two F80, two F128 */
	ARENA_BOOL = 17, /* one byte, 0 or 1 */
	ARENA_CHAR = 18, /* text, one byte each */
	ARENA_BYTES = 19,
	ARENA_TYPES
};

/* Size of one element, 0 for an unknown type; its name ("f64"), "?" for an unknown one. */
extern const uint8_t arena_type_sizes[ARENA_TYPES];
static inline uint32_t arena_type_size(uint32_t type)
{
	return type < ARENA_TYPES ? arena_type_sizes[type] : 0;
}
const char *arena_type_name(uint32_t type);

/* Offset of the heap in the file, and the file's length. */
uint64_t arena_heap_at(uint64_t heap_bytes);
uint64_t arena_file_bytes(uint64_t heap_bytes);

/* Number of tables that an index for this heap may use. */
uint32_t arena_tables(uint64_t heap_bytes);

/* Offset in the file of a table of the index. */
static inline uint64_t arena_table_at(uint32_t table)
{
	return ARENA_INDEX + 4 * (uint64_t)ARENA_TABLE0 * ((UINT64_C(1) << table) - 1);
}

/* Bytes of a record with so many slots and so long a name. */
static inline size_t arena_record_bytes(uint32_t slots, uint32_t name_bytes)
{
	size_t bytes = sizeof(struct arena_record) + slots * sizeof(struct arena_extent) + name_bytes;

	return (bytes + ARENA_LINE - 1) & ~(size_t)(ARENA_LINE - 1);
}

uint64_t arena_hash(const void *data, size_t bytes, uint64_t seed);

/* Is it well-formed UTF-8 without NUL? */
int arena_utf8(const char *text, size_t bytes);

/* The static part: 0, -EPROTO (no arena, or a damaged one), -EPROTONOSUPPORT (another format version). */
int arena_header_check(const struct arena_header *h);
uint64_t arena_header_sum(const struct arena_header *h);

/* A sentence for a code that a function of lib/arena returned. */
const char *arena_strerror(int code);

#endif
