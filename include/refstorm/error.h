/* SPDX-License-Identifier: MIT */
/*
 * What went wrong, and where.
 *
 * Functions of the library that can fail take a `struct rs_error *` (which may
 * be NULL) and return 0 or a negative errno. On failure the struct says where
 * in the input (a file, a tree, a byte address) and what was found there.
 */
#ifndef REFSTORM_ERROR_H
#define REFSTORM_ERROR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RS_ERROR_NO_ADDRESS UINT64_MAX
#define RS_ERROR_WHERE_MAX 160
#define RS_ERROR_WHAT_MAX 320

struct rs_error {
	int code;                       /* negative errno; 0 while nothing went wrong */
	uint64_t address;               /* logical byte address; RS_ERROR_NO_ADDRESS if none */
	char where[RS_ERROR_WHERE_MAX]; /* "fs.img: tree 257"; may be empty */
	char what[RS_ERROR_WHAT_MAX];   /* one sentence without a full stop */
};

/* The start of every rs_error: nothing went wrong yet. */
#define RS_ERROR_INIT                                                                              \
	{                                                                                          \
		0, RS_ERROR_NO_ADDRESS, "", ""                                                     \
	}

#ifdef __cplusplus
}
#endif

#endif /* REFSTORM_ERROR_H */
