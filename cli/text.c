// SPDX-License-Identifier: MIT
#include "cli/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *text_size(char *text, uint64_t bytes, bool raw)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes;
	unsigned unit = 0;

	while (value >= 1024 && unit < sizeof(units) / sizeof(units[0]) - 1) {
		value /= 1024;
		unit++;
	}
	if (raw)
		snprintf(text, TEXT_SIZE_BYTES, "%" PRIu64, bytes);
	else if (!unit)
		snprintf(text, TEXT_SIZE_BYTES, "%" PRIu64 " B", bytes);
	else
		snprintf(text, TEXT_SIZE_BYTES, "%.2f %s", value, units[unit]);
	return text;
}

void text_print_path(FILE *to, const char *path)
{
	for (; *path; path++) {
		unsigned char letter = (unsigned char)*path;

		if (letter < 0x20 || letter == 0x7f)
			fprintf(to, "\\x%02x", letter);
		else
			fputc(letter, to);
	}
}

/*
 * Numbers that went below zero are found in real quota trees, and the library's
 * integers end at 2^63. Those above it become a string that begins with a zero
 * byte, which no path can have, and write_numbers takes the quotes off again.
 */
json_t *text_json_size(uint64_t bytes)
{
	char text[TEXT_SIZE_BYTES] = { 0 };
	int digits;

	if (bytes <= INT64_MAX)
		return json_integer((json_int_t)bytes);
	digits = snprintf(text + 1, sizeof(text) - 1, "%" PRIu64, bytes);
	return json_stringn(text, (size_t)digits + 1);
}

static void write_numbers(FILE *to, const char *text)
{
	static const char mark[] = "\"\\u0000";
	const char *found;

	while ((found = strstr(text, mark)) != NULL) {
		const char *digits = found + sizeof(mark) - 1;
		size_t count = strspn(digits, "0123456789");

		fwrite(text, 1, (size_t)(found - text), to);
		fwrite(digits, 1, count, to);
		text = digits + count + 1; /* the closing quote */
	}
	fprintf(to, "%s\n", text);
}

json_t *text_json_path(const char *path)
{
	json_t *text = json_string(path);
	char *clean;
	size_t out = 0;

	if (text)
		return text;
	clean = malloc(strlen(path) * 3 + 1);
	if (!clean)
		return NULL;
	for (; *path; path++) {
		if ((unsigned char)*path < 0x80) {
			clean[out++] = *path;
		} else {
			memcpy(clean + out, "\xef\xbf\xbd", 3);
			out += 3;
		}
	}
	clean[out] = 0;
	text = json_string(clean);
	free(clean);
	return text;
}

bool text_write_json(FILE *to, json_t *all)
{
	char *text = all ? json_dumps(all, JSON_INDENT(1)) : NULL;

	json_decref(all);
	if (!text)
		return false;
	write_numbers(to, text);
	free(text);
	return !ferror(to);
}
