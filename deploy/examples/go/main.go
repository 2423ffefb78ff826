// Orders whose events are committed with them, and a consumer that handles each event once.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
)

// setState writes an order's new state and the event about it in tx, and returns the event's id.
func setState(ctx context.Context, tx pgx.Tx, order, item, state string) (string, error) {
	// The row stays locked until the commit: that is what keeps the events of one order in order.
	const upsert = "INSERT INTO orders VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET state = $3"
	if _, err := tx.Exec(ctx, upsert, order, item, state); err != nil {
		return "", err
	}
	payload := map[string]string{"order": order, "item": item, "state": state}
	// A new trace; a service passes on that of its request, as OpenTelemetry's propagators do.
	headers := map[string]string{"traceparent": fmt.Sprintf("00-%.16x-%.8x-01", rand.Text(), rand.Text())}
	// For the topic outbox.event.order, with the order's id as key: Kafka keeps order within a key.
	const emit = "SELECT outbox_emit('order', $1, $2, $3::json, $4::json)::text"
	rows, _ := tx.Query(ctx, emit, order, "Order"+state, payload, headers) // rows bring its error
	return pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatalln("error:", err)
	}
	return value
}

func main() {
	ctx, wait := context.Background(), must(time.ParseDuration(cmp.Or(os.Getenv("WAIT_SECONDS"), "30")+"s"))
	time.AfterFunc(wait, func() { log.Fatalln("error: not all events came: see `outbox-relay status`") })
	db := must(pgx.Connect(ctx, os.Getenv("DATABASE_URL")))
	must(db.Exec(ctx, "CREATE TABLE IF NOT EXISTS orders (id text PRIMARY KEY, item text NOT NULL, state text NOT NULL)"))
	must(db.Exec(ctx, "CREATE TABLE IF NOT EXISTS handled_by_go (event uuid PRIMARY KEY)"))
	order, tx := rand.Text(), must(db.Begin(ctx))
	placed := must(setState(ctx, tx, order, "umbrella", "Placed"))
	fmt.Println("committed", must(placed, tx.Commit(ctx)))
	tx = must(db.Begin(ctx))
	lost := must(setState(ctx, tx, order, "umbrella", "Paid"))
	fmt.Println("rolled back", must(lost, tx.Rollback(ctx)))
	tx = must(db.Begin(ctx))
	shipped := must(setState(ctx, tx, order, "umbrella", "Shipped"))
	fmt.Println("committed", must(shipped, tx.Commit(ctx)))
	client := must(kgo.NewClient(kgo.SeedBrokers(strings.Split(os.Getenv("KAFKA_BOOTSTRAP_SERVERS"), ",")...),
		kgo.ConsumeTopics("outbox.event.order"), kgo.ConsumerGroup("example-go"), kgo.AllowAutoTopicCreation(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitMarks())) // not what was only read
	defer client.Close()
	// One key is in order: once its last event is here, one that is absent does not come.
	for seen := []string{}; !slices.Equal(seen, []string{placed, shipped}); {
		fetches := client.PollFetches(ctx)
		for _, record := range must(fetches, fetches.Err()).Records() {
			headers := map[string]string{}
			for _, header := range record.Headers {
				headers[header.Key] = string(header.Value)
			}
			const done = "INSERT INTO handled_by_go VALUES ($1) ON CONFLICT DO NOTHING"
			// The effect of an event belongs into one transaction with this, so that it comes once.
			if must(db.Exec(ctx, done, headers["id"])).RowsAffected() == 1 && string(record.Key) == order {
				seen = append(seen, headers["id"])
				fmt.Println("received", headers["id"], headers["eventType"], headers["traceparent"])
			}
			client.MarkCommitRecords(record)
		}
	}
	fmt.Println("absent", lost)
}
