// Orders whose events are committed with them, and a consumer that handles each event once.
import { randomBytes, randomUUID } from 'node:crypto'
import { Consumer, stringDeserializers } from '@platformatic/kafka'
import pg from 'pg'

const tables = `
CREATE TABLE IF NOT EXISTS orders (id text PRIMARY KEY, item text NOT NULL, state text NOT NULL);
CREATE TABLE IF NOT EXISTS handled_by_node (event uuid PRIMARY KEY)`

// The order's new state and the event about it, in the caller's transaction; the event's id.
async function setState (db, order, item, state) {
  // The row stays locked until the commit: that is what keeps the events of one order in order.
  const upsert = 'INSERT INTO orders VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET state = $3'
  await db.query(upsert, [order, item, state])
  const payload = { order, item, state }
  // A new trace; a service passes on that of its request, as OpenTelemetry's inject() does.
  const traceparent = `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`
  // For the topic outbox.event.order, with the order's id as key: Kafka keeps order within a key.
  const emit = "SELECT outbox_emit('order', $1, $2, $3::json, $4::json) AS id"
  const { rows } = await db.query(emit, [order, `Order${state}`, payload, { traceparent }])
  return rows[0].id
}

// Handles each event once, however often Kafka has it, until those of the order are as expected.
async function consume (db, order, expected) {
  const consumer = new Consumer({
    groupId: 'example-node',
    bootstrapBrokers: process.env.KAFKA_BOOTSTRAP_SERVERS.split(','),
    deserializers: stringDeserializers,
    autocreateTopics: true // it may be here before the first event
  })
  const stream = await consumer.consume({
    topics: ['outbox.event.order'],
    mode: 'committed', // goes on where the group was;
    fallbackMode: 'earliest', // a new one misses nothing that was there before it
    autocommit: false, // what has been read has not been handled yet
    sessionTimeout: 10000 // so long a consumer that was killed keeps its partitions
  })
  const seen = []
  for await (const record of stream) {
    const [id, type, trace] = ['id', 'eventType', 'traceparent'].map(name => record.headers.get(name))
    const done = 'INSERT INTO handled_by_node VALUES ($1) ON CONFLICT DO NOTHING'
    const { rowCount } = await db.query(done, [id]) // in one transaction with the event's effect
    await record.commit()
    if (rowCount === 0 || record.key !== order) continue
    console.log('received', id, type, trace)
    seen.push(id)
    if (seen.join() === expected.join()) break
  }
  await consumer.close(true)
}

function fail (error) {
  console.error('error:', error.message || error)
  process.exit(1)
}

setTimeout(fail, (process.env.WAIT_SECONDS ?? 30) * 1000, 'not all events came: see `outbox-relay status`').unref()
const db = new pg.Client({ connectionString: process.env.DATABASE_URL })
try {
  const order = randomUUID()
  const ids = {}
  await db.connect()
  await db.query(tables)
  for (const [state, end] of [['Placed', 'COMMIT'], ['Paid', 'ROLLBACK'], ['Shipped', 'COMMIT']]) {
    await db.query('BEGIN')
    ids[state] = await setState(db, order, 'umbrella', state)
    await db.query(end)
    console.log(end === 'COMMIT' ? 'committed' : 'rolled back', ids[state])
  }
  // One key is in order: once its last event is here, one that is absent does not come.
  await consume(db, order, [ids.Placed, ids.Shipped])
  console.log('absent', ids.Paid)
  await db.end()
} catch (error) {
  fail(error)
}
