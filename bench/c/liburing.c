/* A ring of one thread through liburing. A batch is filled, submitted and reaped in here:
 * one call each. */
#include <errno.h>
#include <liburing.h>
#include <stdint.h>
#include <stdlib.h>

struct peer {
	struct io_uring ring;
};

/* As the Rust side has it. */
struct peer_op {
	uint64_t user_data;
	void *at;
	uint64_t offset;
	uint32_t len;
	int32_t fd;
	uint32_t what;
};

struct peer_cqe {
	uint64_t user_data;
	int32_t res;
};

enum { NOP, READ, READ_FIXED, RECV, SEND };

int peer_has_no_sqarray(void)
{
#ifdef IORING_SETUP_NO_SQARRAY
	return 1;
#else
	return 0;
#endif
}

/* A negative error number, or 0. */
int peer_new(struct peer **out, unsigned sq, unsigned cq, int no_sqarray, int defers)
{
	struct io_uring_params params = {
		.cq_entries = cq,
		.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL,
	};
	struct peer *peer = malloc(sizeof *peer);
	int err;

	if (!peer)
		return -ENOMEM;
#ifdef IORING_SETUP_NO_SQARRAY
	if (no_sqarray)
		params.flags |= IORING_SETUP_NO_SQARRAY;
#else
	(void)no_sqarray;
#endif
	if (defers)
		params.flags |= IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
				IORING_SETUP_TASKRUN_FLAG;
	err = io_uring_queue_init_params(sq, &peer->ring, &params);
	if (err < 0) {
		free(peer);
		return err;
	}
	*out = peer;
	return 0;
}

void peer_free(struct peer *peer)
{
	io_uring_queue_exit(&peer->ring);
	free(peer);
}

int peer_fd(const struct peer *peer)
{
	return peer->ring.ring_fd;
}

/* There is room for them. How many more there is room for then: an enter alone makes any. */
unsigned peer_nops(struct peer *peer, const uint64_t *user_data, unsigned len)
{
	struct io_uring *ring = &peer->ring;

	for (unsigned i = 0; i < len; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

		io_uring_prep_nop(sqe);
		io_uring_sqe_set_data64(sqe, user_data[i]);
	}
	io_uring_submit(ring);
	return io_uring_sq_space_left(ring);
}

static void prep(struct io_uring_sqe *sqe, const struct peer_op *op)
{
	switch (op->what) {
	case READ:
		io_uring_prep_read(sqe, op->fd, op->at, op->len, op->offset);
		break;
	case READ_FIXED:
		io_uring_prep_read_fixed(sqe, op->fd, op->at, op->len, op->offset, 0);
		io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
		break;
	case RECV:
		io_uring_prep_recv(sqe, op->fd, op->at, op->len, 0);
		break;
	case SEND:
		io_uring_prep_send(sqe, op->fd, op->at, op->len, 0);
		break;
	default:
		io_uring_prep_nop(sqe);
	}
	io_uring_sqe_set_data64(sqe, op->user_data);
}

/* As peer_nops, for any operations. */
unsigned peer_ops(struct peer *peer, const struct peer_op *ops, unsigned len)
{
	struct io_uring *ring = &peer->ring;

	for (unsigned i = 0; i < len; i++)
		prep(io_uring_get_sqe(ring), &ops[i]);
	io_uring_submit(ring);
	return io_uring_sq_space_left(ring);
}

/* How many of `room` were filled. */
unsigned peer_reap(struct peer *peer, struct peer_cqe *out, unsigned room)
{
	struct io_uring *ring = &peer->ring;
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;

	io_uring_for_each_cqe(ring, head, cqe) {
		if (count == room)
			break;
		out[count].user_data = cqe->user_data;
		out[count].res = cqe->res;
		count++;
	}
	io_uring_cq_advance(ring, count);
	/* What was deferred to this thread, or did not fit. */
	if (!count && *ring->sq.kflags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW))
		io_uring_get_events(ring);
	return count;
}

/* Sleeps until there is one. */
void peer_wait(struct peer *peer)
{
	struct io_uring_cqe *cqe;

	io_uring_wait_cqe(&peer->ring, &cqe);
}
