/* SPDX-License-Identifier: MIT */
/* Values in the tables for people and in JSON. One thread. */
#ifndef REFSTORM_CLI_TEXT_H
#define REFSTORM_CLI_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define TEXT_SIZE_BYTES 32

/* "12.00 MiB" into `text` of TEXT_SIZE_BYTES; in bytes if `raw`. Returns `text`. */
const char *text_size(char *text, uint64_t bytes, bool raw);

/* Names come from the image: control characters, which would reach the terminal, as \xNN. */
void text_print_path(FILE *to, const char *path);

/*
 * An integer of up to 64 bits. The library's end at 2^63: those above it are
 * told to text_write_json by a mark.
 */
json_t *text_json_size(uint64_t bytes);

/* Paths are bytes; JSON is UTF-8: what is not becomes a replacement character. */
json_t *text_json_path(const char *path);

/* Writes `all` and frees it; NULL counts as no memory. False if that, or it cannot be written. */
bool text_write_json(FILE *to, json_t *all);

#endif /* REFSTORM_CLI_TEXT_H */
