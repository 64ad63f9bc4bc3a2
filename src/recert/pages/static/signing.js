// Signs in the browser. The key's file is read here and nowhere else: its field has no name, so no form sends it.
//
// form[data-sign]  data-message: the bytes to sign, in base64; data-digest: their sha256; data-keys: ids of keys that may
"use strict";

const KINDS = [
  { name: "ed25519", import: { name: "Ed25519" }, sign: { name: "Ed25519" } },
  { name: "ecdsa-p256", import: { name: "ECDSA", namedCurve: "P-256" }, sign: { name: "ECDSA", hash: "SHA-256" } },
];
const ELSEWHERE = "Or sign with `recert approve` where the key is, and upload what it wrote.";

const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const base64Of = (bytes) => btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(""));
const urlBytes = (text) => bytesOf(text.replace(/-/g, "+").replace(/_/g, "/").padEnd(Math.ceil(text.length / 4) * 4, "="));
const hexOf = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
const sha256 = async (bytes) => hexOf(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));

class Told extends Error {}

function derOf(pem) {
  if (/ENCRYPTED/.test(pem)) {
    throw new Told("This key is encrypted, and a page should not be given its password. Decrypt a copy on your machine " +
      "with `openssl pkcs8 -in KEY.pem -out copy.pem`, choose the copy, and delete it. " + ELSEWHERE);
  }
  if (/BEGIN (EC|RSA|DSA|OPENSSH) PRIVATE KEY/.test(pem)) {
    throw new Told("This key is in another form than PKCS#8. Make a copy with `openssl pkcs8 -topk8 -nocrypt -in KEY.pem " +
      "-out copy.pem`, choose the copy, and delete it. " + ELSEWHERE);
  }
  const found = /-----BEGIN PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----/.exec(pem);
  if (!found) {
    throw new Told("This file holds no private key in PEM. Choose the one that `recert keygen` wrote, not its .pub file.");
  }
  try {
    return bytesOf(found[1].replace(/\s/g, ""));
  } catch {
    throw new Told("This key's file is damaged. Restore it from where you keep a copy. " + ELSEWHERE);
  }
}

// Reads a key; gives the id that Recert knows it by, and a function that signs.
async function readKey(file) {
  if (file.size > 65536) throw new Told("This file is too large to be a key.");
  const der = derOf(await file.text());
  for (const kind of KINDS) {
    let open;
    try {
      open = await crypto.subtle.importKey("pkcs8", der, kind.import, true, ["sign"]);
    } catch { continue; }
    const jwk = await crypto.subtle.exportKey("jwk", open);
    const raw = kind.name === "ed25519" ? urlBytes(jwk.x) : new Uint8Array([4, ...urlBytes(jwk.x), ...urlBytes(jwk.y)]);
    return {
      id: await sha256(raw),
      sign: async (message) => new Uint8Array(await crypto.subtle.sign(kind.sign, open, message)),
    };
  }
  throw new Told("This browser cannot sign with this key: it takes Ed25519, where the browser knows it, and ECDSA on P-256. " + ELSEWHERE);
}

function tell(form, text, bad) {
  const place = form.querySelector("[data-told]");
  place.textContent = text;
  place.classList.toggle("bad", Boolean(bad));
}

async function signForm(form) {
  const field = form.querySelector("[data-key]");
  const message = bytesOf(form.dataset.message);
  if ((await sha256(message)) !== form.dataset.digest) {
    throw new Told("The bytes to sign are not those whose digest this page shows. Load the page again.");
  }
  const key = await readKey(field.files[0]);
  if (!form.dataset.keys.split(" ").includes(key.id)) {
    throw new Told(`This is the key ${key.id}, which may not sign here. The certificate names another one for your role.`);
  }
  form.elements.key_id.value = key.id;
  form.elements.signature.value = base64Of(await key.sign(message));
  field.value = "";
}

document.querySelectorAll("form[data-sign]").forEach((form) => {
  const field = form.querySelector("[data-key]");
  const can = window.isSecureContext && Boolean(window.crypto && crypto.subtle);
  form.querySelector("[data-can]").hidden = !can;
  form.querySelector("[data-cannot]").hidden = can;
  if (!can) return;
  form.addEventListener("submit", async (event) => {
    const upload = form.elements.signed;
    if (form.elements.signature.value || (upload && upload.files.length)) return;
    event.preventDefault();
    if (!field.files.length) {
      tell(form, "Choose the file of your key first; it stays on this machine.", true);
      return;
    }
    try {
      tell(form, "Signing on this machine …", false);
      await signForm(form);
      tell(form, "Signed on this machine; only the signature is sent.", false);
      form.submit();
    } catch (error) {
      form.elements.signature.value = "";
      tell(form, error instanceof Told ? error.message : `The browser could not sign: ${error.message}`, true);
    }
  });
});
