import java.sql.*;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Orders whose events are committed with them, and a consumer that handles each event once. */
public class Example {
    static final String TABLES = """
            CREATE TABLE IF NOT EXISTS orders (id text PRIMARY KEY, item text NOT NULL, state text NOT NULL);
            CREATE TABLE IF NOT EXISTS handled_by_java (event uuid PRIMARY KEY)""";

    /** The order's new state and the event about it, in the caller's transaction; the event's id. */
    static String setState(Connection db, String order, String item, String state) throws SQLException {
        // The row stays locked until the commit: that is what keeps the events of one order in order.
        var upsert = "INSERT INTO orders VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state";
        try (var change = db.prepareStatement(upsert)) {
            change.setString(1, order);
            change.setString(2, item);
            change.setString(3, state);
            change.executeUpdate();
        }
        // For the topic outbox.event.order, with the order's id as key: Kafka keeps order within a key.
        try (var event = db.prepareStatement("""
                SELECT outbox_emit('order', id, 'Order' || state, json_build_object('order', id, 'item', item,
                    'state', state), ?::json) FROM orders WHERE id = ?""")) {
            // A new trace; a service passes on that of its request, as OpenTelemetry's propagators do.
            var trace = (UUID.randomUUID() + "" + UUID.randomUUID()).replace("-", "");
            event.setString(1, "{\"traceparent\": \"00-%.32s-%.16s-01\"}".formatted(trace, trace.substring(32)));
            event.setString(2, order);
            try (var row = event.executeQuery()) {
                row.next();
                return row.getString(1);
            }
        }
    }

    static String header(ConsumerRecord<String, String> record, String name) {
        return new String(record.headers().lastHeader(name).value());
    }

    public static void main(String[] args) throws Exception {
        var end = System.nanoTime() + 1_000_000_000 * Long.parseLong(System.getenv().getOrDefault("WAIT_SECONDS", "30"));
        Map<String, Object> settings = Map.of("bootstrap.servers", System.getenv("KAFKA_BOOTSTRAP_SERVERS"),
                "group.id", "example-java", "enable.auto.commit", false, // read is not yet handled
                "auto.offset.reset", "earliest"); // a new group misses nothing that was there before it
        try (var db = DriverManager.getConnection(System.getenv("JDBC_URL"));
                var handled = db.prepareStatement("INSERT INTO handled_by_java VALUES (?::uuid) ON CONFLICT DO NOTHING");
                var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            db.createStatement().execute(TABLES);
            db.setAutoCommit(false); // from here on a transaction ends where it says so
            var order = UUID.randomUUID().toString();
            var placed = setState(db, order, "umbrella", "Placed");
            db.commit();
            var lost = setState(db, order, "umbrella", "Paid");
            db.rollback();
            var shipped = setState(db, order, "umbrella", "Shipped");
            db.commit();
            System.out.printf("committed %s%nrolled back %s%ncommitted %s%n", placed, lost, shipped);
            consumer.subscribe(List.of("outbox.event.order"));
            // One key is in order: once its last event is here, one that is absent does not come.
            for (var seen = new ArrayList<String>(); !seen.equals(List.of(placed, shipped));) {
                if (System.nanoTime() - end > 0) throw new Exception("not all events came: see `outbox-relay status`");
                for (var record : consumer.poll(Duration.ofMillis(500))) {
                    var id = header(record, "id");
                    handled.setString(1, id); // in one transaction with the event's effect
                    if (handled.executeUpdate() == 1 && record.key().equals(order)) {
                        System.out.printf("received %s %s %s%n", id, header(record, "eventType"), header(record, "traceparent"));
                        seen.add(id);
                    }
                    db.commit();
                }
                consumer.commitSync();
            }
            System.out.println("absent " + lost);
        }
    }
}
