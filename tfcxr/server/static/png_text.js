/** PNG files that say inside what they are, so that a picture which is saved from the page does too. */

const HEAD_BYTES = 8 + 25; // signature and IHDR, which comes first
const CRC_POLYNOMIAL = 0xedb88320;

/** The bytes of a PNG file with `facts` as JSON in a tEXt chunk `tfcxr`, as `tfcxr.data.png_writer` writes it. */
export function withFacts(png, facts) {
  const escaped = JSON.stringify(facts).replace(/[^\x20-\x7e]/g, escapeLetter);
  const body = Uint8Array.from(`tEXttfcxr\0${escaped}`, (letter) => letter.charCodeAt(0));
  const chunk = new Uint8Array(body.length + 8);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, body.length - 4);
  chunk.set(body, 4);
  view.setUint32(chunk.length - 4, crc32(body));
  return new Blob([png.subarray(0, HEAD_BYTES), chunk, png.subarray(HEAD_BYTES)], { type: "image/png" });
}

function escapeLetter(letter) {
  return `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? CRC_POLYNOMIAL : 0);
  }
  return ~crc >>> 0;
}
