// The Prometheus operator's objects, a JSON list on standard input, against its schemas in the
// given node_modules: a line for each that is refused. Its validators pass over what they do not
// know; so a field that they never look at is unknown.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const modules = process.argv[2];

// The object, and how to tell which of its fields nobody has read.
function watched(object, path, unread) {
  for (const key of Object.keys(object)) unread.add(`${path}${key}`);
  const inner = new Map();
  return new Proxy(object, {
    get(target, key) {
      if (typeof key === "string") unread.delete(`${path}${key}`);
      const value = target[key];
      if (typeof value !== "object" || value === null) return value;
      if (!inner.has(key)) inner.set(key, watched(value, `${path}${String(key)}.`, unread));
      return inner.get(key);
    },
  });
}

for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const where = `${object.kind} ${object.metadata.name}`;
  const file = `@kubernetes-models/prometheus-operator/${object.apiVersion}/${object.kind}.js`;
  const models = await import(pathToFileURL(`${modules}/${file}`)).catch(() => ({}));
  const model = models[object.kind];
  if (!model) {
    console.log(`${where}: there is no ${object.apiVersion} ${object.kind}`);
    continue;
  }
  try {
    new model(object).validate();
  } catch (error) {
    console.log(`${where}: ${error.message}`);
    continue;
  }
  const unread = new Set();
  model.prototype.validate.call(watched(object, "", unread));
  for (const path of unread) console.log(`${where}: ${path}: unknown field`);
}
