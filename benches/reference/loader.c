// SPDX-License-Identifier: MIT OR Apache-2.0
// Loads a reference object with libbpf, attaches its programs, or those that are named, and takes what
// they send.
//
//   loader OBJECT READY-FILE [PROGRAM...]
//
// Makes READY-FILE when everything is attached. Ended by SIGTERM it prints how many records came. Where
// the variable RECORDS names a file, each goes into it, behind its length (4 bytes, of this machine's order).
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

static FILE *records;

static int on_record(void *context, void *data, size_t size)
{
	unsigned long long *count = context;
	unsigned int length = size;

	++*count;
	if (records && (fwrite(&length, sizeof(length), 1, records) != 1 ||
			fwrite(data, size, 1, records) != 1))
		return -EIO;
	return 0;
}

static int fail(const char *what)
{
	fprintf(stderr, "loader: failed to %s: %s\n", what, strerror(errno));
	return 1;
}

static int is_wanted(const char *name, char **wanted)
{
	if (!*wanted)
		return 1;
	for (; *wanted; wanted++)
		if (!strcmp(name, *wanted))
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };
	unsigned long long count = 0;
	struct bpf_program *program;
	struct ring_buffer *ring = NULL;
	struct bpf_object *object;
	int ready, events;

	if (argc < 3) {
		fprintf(stderr, "usage: loader OBJECT READY-FILE [PROGRAM...]\n");
		return 2;
	}
	sigaction(SIGTERM, &action, NULL);
	if (getenv("RECORDS") && !(records = fopen(getenv("RECORDS"), "w")))
		return fail("open the file for records");
	object = bpf_object__open_file(argv[1], NULL);
	if (!object)
		return fail("open the object");
	bpf_object__for_each_program(program, object)
		bpf_program__set_autoload(program, is_wanted(bpf_program__name(program), argv + 3));
	if (bpf_object__load(object))
		return fail("load the programs");
	bpf_object__for_each_program(program, object)
		if (bpf_program__autoload(program) && !bpf_program__attach(program))
			return fail(bpf_program__name(program));
	events = bpf_object__find_map_fd_by_name(object, "events");
	if (events >= 0 && !(ring = ring_buffer__new(events, on_record, &count, NULL)))
		return fail("open the ring buffer");
	ready = open(argv[2], O_CREAT | O_WRONLY, 0644);
	if (ready < 0)
		return fail("make the ready file");
	close(ready);
	while (!stop) {
		if (!ring)
			pause();
		else if (ring_buffer__poll(ring, -1) < 0 && errno != EINTR)
			return fail("read the ring buffer");
	}
	if (ring)
		ring_buffer__consume(ring);
	if (records && fclose(records))
		return fail("write the records");
	printf("%llu\n", count);
	return 0;
}
