/* SPDX-License-Identifier: MIT */
#include "workloads/script.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/error.h"

#define READ_BYTES ((size_t)1 << 16)
#define TEXT_MAX ((size_t)1 << 32)

/* All that `fd` gives, in `*text`, which the caller frees also after an error. */
static int read_all(int fd, char **text, size_t *bytes)
{
	size_t capacity = 0;

	*bytes = 0;
	for (;;) {
		char *larger = array_grow(*text, *bytes, READ_BYTES, &capacity, 1);
		ssize_t got;

		if (!larger)
			return -ENOMEM;
		*text = larger;
		got = read(fd, larger + *bytes, capacity - *bytes);
		if (got < 0)
			return -errno;
		if (!got)
			return 0;
		*bytes += (size_t)got;
		if (*bytes > TEXT_MAX)
			return -EFBIG;
	}
}

int script_read(const char *path, struct script **out, struct rs_error *error)
{
	bool standard = !strcmp(path, "-");
	const char *name = standard ? "standard input" : path;
	int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	char *text = NULL;
	size_t bytes = 0;
	int ret;

	*out = NULL;
	ret = fd < 0 ? -errno : read_all(fd, &text, &bytes);
	if (fd >= 0 && !standard)
		close(fd);
	if (ret) {
		error_set(error, ret, "cannot be read: %s", strerror(-ret));
		error_add_place(error, "%s", name);
	} else {
		ret = script_parse(name, text, bytes, out, error);
	}
	alloc_free(text);
	return ret;
}

void script_free(struct script *script)
{
	if (!script)
		return;
	script_names_destroy(&script->subvols);
	script_names_destroy(&script->files);
	script_names_destroy(&script->places);
	alloc_free(script->groups);
	alloc_free(script->operations);
	alloc_free(script->text);
	alloc_free(script->name);
	alloc_free(script);
}

const char *script_subvol_name(const struct script *script, uint32_t subvol)
{
	return script_names_at(&script->subvols, subvol);
}

const char *script_file_name(const struct script *script, uint32_t file)
{
	return script_names_at(&script->files, file);
}

const struct script_place *script_place(const struct script *script, uint32_t place)
{
	return script_names_at(&script->places, place);
}

const char *script_line(const struct script *script, uint32_t line, size_t *length)
{
	const char *at = script->text;
	const char *end = at + script->text_bytes;
	const char *line_end;

	for (; line > 1 && at < end; line--) {
		const char *next = memchr(at, '\n', (size_t)(end - at));

		at = next ? next + 1 : end;
	}
	line_end = memchr(at, '\n', (size_t)(end - at));
	if (!line_end)
		line_end = end;
	while (at < line_end && strchr(" \t\r", *at))
		at++;
	while (at < line_end && strchr(" \t\r", line_end[-1]))
		line_end--;
	*length = (size_t)(line_end - at);
	return at;
}
