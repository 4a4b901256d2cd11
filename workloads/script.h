/* SPDX-License-Identifier: MIT */
/*
 * The script language of refstorm exec (refstorm-exec(1) has all of it), read into an array of
 * operations. What a line names is looked up once, here: an operation has numbers instead of names.
 *
 * Callers: a script is read by any number of threads once script_parse has returned it.
 */
#ifndef REFSTORM_WORKLOADS_SCRIPT_H
#define REFSTORM_WORKLOADS_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refstorm/error.h"
#include "workloads/script_names.h"

#define SCRIPT_UNIT 4096U       /* offsets, lengths and sizes of files are multiples of it */
#define SCRIPT_THREADS_MAX 256U /* threads are numbered from 0 */
#define SCRIPT_NAME_MAX 255U    /* of a file, or of each part of a subvolume's path */
#define SCRIPT_NONE UINT32_MAX
#define SCRIPT_NO_THREAD UINT16_MAX

/* In the order of the table in script_words.c. */
enum script_kind {
	SCRIPT_WRITE,
	SCRIPT_CLONE,
	SCRIPT_DEDUPE,
	SCRIPT_TRUNCATE,
	SCRIPT_PUNCH,
	SCRIPT_FALLOCATE,
	SCRIPT_UNLINK,
	SCRIPT_DEFRAG,
	SCRIPT_SUBVOL,
	SCRIPT_SNAPSHOT,
	SCRIPT_DELETE,
	SCRIPT_COMMIT,
	SCRIPT_DROP_WAIT,
	SCRIPT_BALANCE,
	SCRIPT_CHECK,
	SCRIPT_QUOTA_ON,
	SCRIPT_QUOTA_OFF,
	SCRIPT_RESCAN_START,
	SCRIPT_RESCAN_WAIT,
	SCRIPT_RESCAN_PAUSE,
	SCRIPT_RESCAN_RESUME,
	SCRIPT_RESCAN_CANCEL,
	SCRIPT_GROUP_CREATE,
	SCRIPT_GROUP_REMOVE,
	SCRIPT_GROUP_ASSIGN,
	SCRIPT_GROUP_UNASSIGN,
	SCRIPT_LIMIT,
	SCRIPT_DIRTY,
	SCRIPT_FLUSH,
	SCRIPT_DROP_DIRTY,
	SCRIPT_EXPECT_RECLAIM,
	SCRIPT_EXPECT,
	SCRIPT_KINDS,
};

enum script_engine {
	SCRIPT_ENGINE_DEFAULT,
	SCRIPT_ENGINE_LEDGER,
	SCRIPT_ENGINE_EXTENT,
	SCRIPT_ENGINE_OPER,
	SCRIPT_ENGINE_SIMPLE,
};

#define SCRIPT_READ_ONLY 1U  /* snapshot -r */
#define SCRIPT_LIMIT_EXCL 2U /* limit G excl; else rfer */
#define SCRIPT_LIMIT_NONE 4U /* no limit any more */
#define SCRIPT_DATA_ONLY 8U  /* expect G data-rfer: metadata does not count */

/* One line. Numbers that a kind does not use are 0, names SCRIPT_NONE. */
struct script_operation {
	union {
		uint64_t offset; /* of a clone: in the source */
		uint64_t size;   /* truncate */
		uint64_t rfer;   /* expect */
		uint64_t bytes;  /* limit, expect reclaim */
	};
	union {
		uint64_t length;
		uint64_t excl; /* expect */
	};
	uint64_t target_offset;
	uint32_t line;          /* of the text, from 1 */
	uint32_t subvol;        /* number of a name; of a snapshot: the source */
	uint32_t place;         /* number of a file in a subvolume; of a clone: the source */
	uint32_t target_subvol; /* of a snapshot: the new one */
	uint32_t target_place;
	uint32_t group_first; /* of the script's groups; of expect reclaim: the subvolumes */
	uint32_t group_count;
	uint16_t thread; /* SCRIPT_NO_THREAD: waits for all threads */
	uint16_t fails;  /* errno that it must fail with; 0: it must succeed */
	uint8_t kind;    /* enum script_kind */
	uint8_t engine;  /* quota on: enum script_engine */
	uint8_t flags;
};

/* A file name in a subvolume name. */
struct script_place {
	uint32_t subvol;
	uint32_t file;
};

/* The group of a subvolume name, or one by its number. */
struct script_group {
	uint64_t id;
	uint32_t level;
	uint32_t subvol; /* SCRIPT_NONE: by its number */
};

struct script {
	char *name; /* in messages */
	char *text;
	size_t text_bytes;
	struct script_operation *operations;
	size_t operation_count;
	size_t operation_capacity;
	struct script_group *groups;
	size_t group_count;
	size_t group_capacity;
	struct script_names subvols;
	struct script_names files;
	struct script_names places; /* keys are struct script_place */
	unsigned threads;           /* the highest number of a thread and 1; 0: none named */
};

/*
 * Reads `bytes` of text, which is copied. `name` stands in messages. 0, -ENOMEM, or -EINVAL with
 * the place "name:line" and what is wrong there in `error`.
 */
int script_parse(const char *name, const char *text, size_t bytes, struct script **out,
		 struct rs_error *error) __attribute__((warn_unused_result));

/* The same of a file; "-" is standard input. Besides: errno of open and read; -EFBIG. */
int script_read(const char *path, struct script **out, struct rs_error *error)
	__attribute__((warn_unused_result));

/* NULL is allowed. */
void script_free(struct script *script);

const char *script_subvol_name(const struct script *script, uint32_t subvol);
const char *script_file_name(const struct script *script, uint32_t file);
const struct script_place *script_place(const struct script *script, uint32_t place);

/* The text of a line without blanks around it; its length in `*length`. Slow: it counts lines. */
const char *script_line(const struct script *script, uint32_t line, size_t *length);

#endif /* REFSTORM_WORKLOADS_SCRIPT_H */
