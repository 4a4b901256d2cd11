/* SPDX-License-Identifier: MIT */
#include "tests/support/fixture.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define FOLDER "tests/images/"
#define NUMBERS ".groups"

static void give_up(const char *name, const char *what)
{
	fprintf(stderr, "fixture %s: %s\n", name, what);
	exit(1);
}

static bool unpack(const char *packed, const char *into)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		execlp("zstd", "zstd", "-q", "-d", "-f", "--sparse", packed, "-o", into,
		       (char *)NULL);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && !status;
}

/* NAME.img.zst, or NAME.1.img.zst and so on. */
static void unpack_all(struct fixture *fixture, const char *name)
{
	char packed[2 * FIXTURE_NAME_BYTES];
	unsigned number;
	char *path;

	for (number = 0; number <= FIXTURE_DEVICES_MAX; number++) {
		char part[8] = "";

		if (number)
			snprintf(part, sizeof(part), ".%u", number);
		snprintf(packed, sizeof(packed), FOLDER "%s%s.img.zst", name, part);
		if (access(packed, R_OK))
			continue;
		path = fixture->paths[fixture->count++];
		memcpy(path, fixture->folder, sizeof(fixture->folder));
		snprintf(path + strlen(path), FIXTURE_NAME_BYTES, "/%u.img", number);
		if (!unpack(packed, path))
			give_up(name, "cannot be unpacked");
	}
}

void fixture_open(struct fixture *fixture, const char *name)
{
	const char *paths[FIXTURE_DEVICES_MAX];
	struct rs_error error = RS_ERROR_INIT;
	size_t at;

	*fixture = (struct fixture){ .folder = "/tmp/refstorm-fixture-XXXXXX" };
	if (!mkdtemp(fixture->folder))
		give_up(name, "no folder can be made in /tmp");
	unpack_all(fixture, name);
	for (at = 0; at < fixture->count; at++)
		paths[at] = fixture->paths[at];
	if (rs_image_open(paths, fixture->count, &fixture->image, &error)) {
		fixture_close(fixture);
		give_up(name, error.what);
	}
}

void fixture_close(struct fixture *fixture)
{
	size_t at;

	rs_image_close(fixture->image);
	for (at = 0; at < fixture->count; at++)
		unlink(fixture->paths[at]);
	rmdir(fixture->folder);
}

size_t fixture_names(char (*names)[FIXTURE_NAME_BYTES], size_t room)
{
	glob_t found = { 0 };
	size_t at;

	if (glob(FOLDER "*" NUMBERS, 0, NULL, &found))
		give_up(FOLDER, "there are none; is this the source directory?");
	for (at = 0; at < found.gl_pathc && at < room; at++) {
		const char *name = found.gl_pathv[at] + strlen(FOLDER);

		snprintf(names[at], FIXTURE_NAME_BYTES, "%.*s",
			 (int)(strlen(name) - strlen(NUMBERS)), name);
	}
	globfree(&found);
	return at;
}
