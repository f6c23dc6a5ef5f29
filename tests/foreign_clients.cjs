// One request through mqtt.js, and its result on standard output:
//
//     node foreign_clients.cjs URL PROTOCOL_VERSION DEVICE REQUEST
//
// PROTOCOL_VERSION is 4 (MQTT 3.1.1) or 5. The caller limits the time.
"use strict";

const mqtt = require("mqtt");

const [url, version, device, request] = process.argv.slice(2);

function fail(why) {
  console.error(`mqtt.js: ${why}`);
  process.exit(1);
}

const client = mqtt.connect(url, { protocolVersion: Number(version), reconnectPeriod: 0 });
client.on("error", (error) => fail(error.message));
client.on("close", () => fail("the connection was closed"));
client.on("message", (_topic, payload) => {
  console.log(payload.toString());
  client.removeAllListeners("close");
  client.end(false, {}, () => process.exit(0));
});
client.on("connect", () => {
  client.subscribe(`ml/inference/result/${device}`, { qos: 1 }, (error) => {
    if (error) fail(`cannot subscribe: ${error.message}`);
    client.publish("ml/inference/request", request, { qos: 1 }, (error) => {
      if (error) fail(`cannot publish: ${error.message}`);
    });
  });
});
