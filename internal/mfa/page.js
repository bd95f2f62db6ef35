"use strict";
// Has the browser make or show a passkey, and hands what comes of it to the program on this machine that has
// opened the page. What is asked stands behind the # of the address, which a browser tells nobody.
{
	const text = document.getElementById("text"), button = document.getElementById("go"), form = document.getElementById("form");
	const say = t => { text.textContent = t; };
	const bytes = t => Uint8Array.from(atob(t.replace(/-/g, "+").replace(/_/g, "/")), c => c.charCodeAt(0));
	const encode = b => b ? btoa(String.fromCharCode(...new Uint8Array(b))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "") : undefined;
	const named = list => (list || []).map(d => ({...d, id: bytes(d.id)}));

	const read = () => {
		const asked = JSON.parse(new TextDecoder().decode(bytes(location.hash.slice(1))));
		if (!Number.isInteger(asked.port) || asked.port < 1 || asked.port > 65535 || !["create", "get"].includes(asked.what)) {
			throw new Error("not asked for anything");
		}
		const o = {...asked.options, challenge: bytes(asked.options.challenge)};
		if (asked.what === "create") {
			o.user = {...o.user, id: bytes(o.user.id)};
			o.excludeCredentials = named(o.excludeCredentials);
		} else {
			o.allowCredentials = named(o.allowCredentials);
		}
		return {...asked, options: o};
	};

	const answer = made => {
		const r = made.response, out = {clientDataJSON: encode(r.clientDataJSON)};
		if (r.attestationObject) {
			out.attestationObject = encode(r.attestationObject);
			out.transports = r.getTransports ? r.getTransports() : [];
		} else {
			out.authenticatorData = encode(r.authenticatorData);
			out.signature = encode(r.signature);
			out.userHandle = encode(r.userHandle);
		}
		return {id: made.id, rawId: encode(made.rawId), type: made.type, response: out, clientExtensionResults: {}};
	};

	const run = async asked => {
		button.disabled = true;
		try {
			const made = await navigator.credentials[asked.what]({publicKey: asked.options});
			form.action = "http://127.0.0.1:" + asked.port + "/passkey"; // this machine, whoever wrote the link
			form.elements.state.value = asked.state;
			form.elements.credential.value = JSON.stringify(answer(made));
			form.submit();
		} catch (e) {
			say("It has not worked: " + e.message);
			button.disabled = false;
		}
	};

	let asked;
	try {
		asked = read();
	} catch (e) {
		say("Nothing is asked of you here. A program opens this page when it needs your passkey.");
	}
	history.replaceState(null, "", location.pathname);
	if (asked && !window.PublicKeyCredential) {
		say("This browser has no passkeys here. They need https, or the name localhost.");
	} else if (asked) {
		say(asked.what === "create" ? "A program on this computer registers a passkey of yours. Go on only if you have just asked it to."
			: "A program on this computer logs in as you. Go on only if you have just asked it to.");
		button.hidden = false;
		button.addEventListener("click", () => run(asked));
	}
}
