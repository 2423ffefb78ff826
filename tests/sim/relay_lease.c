/* What relay.c does about the lease: who owns the outbox, and until when. */
#include "sim.h"

void relay_disown(struct sim *s, struct relay *r)
{
    sim_note(s, " disown", relay_index(s, r), (int64_t)r->lease.epoch, 0);
    pipeline_disown(r->p, sim_ms(s));
    failures_disowned(r);
    lease_drop(&r->lease);
    broker_discard(s, r);
    check_excuse(s, r, false);
    r->zombie = false;
}

static void rows_gone(struct sim *s, struct relay *r)
{
    pipeline_rows_gone(r->p, sim_ms(s));
    failures_owned(s, r, false);
    if (!s->cfg.named) /* its events are held, whatever became of their rows */
        check_excuse(s, r, true);
}

void relay_lease_answer(struct sim *s, struct relay *r, uint64_t epoch)
{
    struct pipeline_view view;

    if (!lease_pending(&r->lease))
        return;
    if (epoch == 0) {
        lease_refused(&r->lease);
        r->lease_next = sim_ms(s) + s->cfg.ttl_ms / 8;
        if (r->lease.held)
            relay_disown(s, r); /* the server says: somebody else */
        return;
    }
    lease_granted(&r->lease, epoch);
    if (s->mutation == MUTATION_LEASE_LATE)
        r->lease.renewed_at = sim_ms(s);
    pipeline_view(r->p, &view);
    if (sim_ms(s) >= lease_deadline(&r->lease)) {
        if (view.owned && s->mutation != MUTATION_LEASE_BLIND)
            relay_disown(s, r);
        else if (!view.owned)
            lease_drop(&r->lease); /* too late to be of use */
    } else if (!view.owned) {
        bool continued = epoch == r->last_epoch;

        if (!continued) {
            check_excuse(s, r, true);
            r->stranger = s->streams;
        }
        pipeline_own(r->p, sim_ms(s), continued);
        failures_owned(s, r, continued);
    } else if (epoch != r->last_epoch) {
        rows_gone(s, r); /* a TRUNCATE */
    }
    if (!r->lease.held)
        return;
    r->last_epoch = epoch;
    r->zombie = false;
}

void relay_lease_ask(struct sim *s, struct relay *r)
{
    if (!r->conns[CONN_CONTROL].up || lease_pending(&r->lease) || r->ending)
        return;
    lease_sent(&r->lease, sim_ms(s));
    conn_ask(s, r, CONN_CONTROL, EV_SRV_LEASE, 1);
}

void relay_turn(struct sim *s, struct relay *r)
{
    int64_t now = sim_ms(s);

    if (r->grace > 0) {
        r->grace--;
        return;
    }
    if (r->lease.held && now >= lease_deadline(&r->lease) && s->mutation != MUTATION_LEASE_BLIND)
        relay_disown(s, r);
    failures_turn(s, r);
    if (now >= (r->lease.held ? lease_renew_at(&r->lease) : r->lease_next))
        relay_lease_ask(s, r);
}
