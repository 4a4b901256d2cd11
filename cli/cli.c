// SPDX-License-Identifier: MIT
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

void cli_message(const char *format, ...)
{
	va_list arguments;

	fputs("refstorm: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

void cli_error(const struct rs_error *error)
{
	const char *colon = error->where[0] ? ": " : "";

	if (error->address == RS_ERROR_NO_ADDRESS)
		cli_message("%s%s%s", error->where, colon, error->what);
	else
		cli_message("%s%sat %" PRIu64 ": %s", error->where, colon, error->address,
			    error->what);
}

bool cli_number(const char *option, const char *text, unsigned long long most,
		unsigned long long *number)
{
	static const char units[] = "kmg";
	unsigned long long value;
	const char *unit = NULL;
	unsigned shift = 0;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (*end && end[1] == 0)
		unit = strchr(units, *end | 0x20);
	if (unit)
		shift = 10 * (unsigned)(unit - units + 1);
	if (text[0] < '0' || text[0] > '9' || (*end && !unit)) {
		cli_message("%s: '%s' is no number", option, text);
		return false;
	}
	if (errno || value > most >> shift) {
		cli_message("%s: %s is too large; the most is %llu", option, text, most);
		return false;
	}
	*number = value << shift;
	return true;
}

bool cli_output_open(struct cli_output *output, const char *path)
{
	struct stat about;
	size_t bytes = strlen(path) + sizeof(".XXXXXX");
	int fd;

	*output = (struct cli_output){ .path = path };
	if (!strcmp(path, "-")) {
		output->file = stdout;
		return true;
	}
	/* A device or a pipe is written in place. */
	if (!stat(path, &about) && !S_ISREG(about.st_mode)) {
		output->file = fopen(path, "w");
		if (!output->file)
			cli_message("%s: %s", path, strerror(errno));
		return output->file != NULL;
	}
	output->temporary = malloc(bytes);
	if (!output->temporary) {
		cli_message("%s: no memory", path);
		return false;
	}
	snprintf(output->temporary, bytes, "%s.XXXXXX", path);
	fd = mkstemp(output->temporary);
	if (fd >= 0)
		output->file = fdopen(fd, "w");
	if (output->file)
		return true;
	cli_message("%s: %s", path, strerror(errno));
	if (fd >= 0) {
		close(fd);
		unlink(output->temporary);
	}
	free(output->temporary);
	output->temporary = NULL;
	return false;
}

bool cli_output_close(struct cli_output *output, bool keep)
{
	mode_t mask = umask(0);
	bool good = true;

	umask(mask);
	if (!output->file)
		return true;
	if (keep && (fflush(output->file) || ferror(output->file)))
		good = false;
	if (output->temporary && good && fchmod(fileno(output->file), 0666 & ~mask))
		good = false;
	if (output->file != stdout && fclose(output->file))
		good = false;
	output->file = NULL;
	if (output->temporary && keep && good && rename(output->temporary, output->path))
		good = false;
	if (keep && !good)
		cli_message("%s: cannot write: %s", output->path, strerror(errno));
	if (output->temporary && !(keep && good))
		unlink(output->temporary);
	free(output->temporary);
	output->temporary = NULL;
	return good || !keep;
}

bool cli_output_write(const char *path, bool (*write)(FILE *to, const void *argument),
		      const void *argument)
{
	struct cli_output output;
	bool good;

	if (!path)
		return true;
	if (!cli_output_open(&output, path))
		return false;
	good = write(output.file, argument);
	if (!good)
		cli_message("%s: cannot write the report", path);
	return cli_output_close(&output, good) && good;
}

bool cli_output_is_stdout(const char *path)
{
	return path && !strcmp(path, "-");
}

static void on_interrupt(int number)
{
	if (interrupted)
		_exit(128 + number);
	interrupted = 1;
}

void cli_catch_interrupt(void)
{
	struct sigaction action = { .sa_handler = on_interrupt };

	sigemptyset(&action.sa_mask);
	/* No SA_RESTART: who waits is to look up at once. */
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

bool cli_interrupted(void)
{
	return interrupted;
}
