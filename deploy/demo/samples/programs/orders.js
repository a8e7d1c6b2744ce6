// Writes one JSON object a line, as services on Node.js do with pino. Used once, to record samples/json-orders.log.
const log = require("pino")({ base: { service: "orders" } });
let seed = 7;
const random = (n) => ((seed = (seed * 1103515245 + 12345) & 0x7fffffff) >> 8) % n;
const users = ["maria", "tom.berg", "li-wei", "admin", "o'neill", "søren", "guest42"];
for (let i = 0; i < 1100; i++) {
  const orderId = `ord-${(100000 + random(900000)).toString(36)}`;
  const user = users[random(users.length)];
  const http = log.child({ req: { method: "POST", url: `/orders/${orderId}`, remoteAddress: `10.1.${random(4)}.${random(250)}` } });
  switch (random(9)) {
    case 0: log.info({ user }, `User ${user} signed in from 10.1.${random(4)}.${random(250)}`); break;
    case 1: http.info({ ms: random(900) }, `request completed in ${random(900)} ms with status ${[200, 201, 204][random(3)]}`); break;
    case 2: log.debug(`cache miss for key order:${orderId}`); log.info(`Order ${orderId} placed by ${user}: ${1 + random(9)} items, total ${random(500)}.${10 + random(89)} EUR`); break;
    case 3: log.warn({ orderId, attempt: 1 + random(3) }, `Payment for order ${orderId} declined: ${["insufficient funds", "card expired", "issuer unavailable"][random(3)]}`); break;
    case 4: log.error({ err: new RangeError(`stock of sku-${random(999)} is negative`) }, `Failed to reserve stock for order ${orderId}`); break;
    case 5: log.info(`Shipped order ${orderId} with carrier ${["DHL", "UPS", "PostNord"][random(3)]}, tracking number JD${10000000 + random(9000000)}`); break;
    case 6: http.warn(`request aborted by client after ${random(5000)} ms`); break;
    case 7: log.info({ queue: "mail" }, `Queued confirmation mail to ${user.replace(/[^a-z]/g, "")}@shop.example`); break;
    default: log.info(`Worker ${random(8)} finished batch ${random(400)}: ${random(50)} orders, ${random(3)} errors`);
  }
}
