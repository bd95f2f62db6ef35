package seal

// Arithmetic in GF(2^8) with the polynomial x^8+x^4+x^3+x+1 (as in AES, FIPS 197),
// without tables and without branches or memory accesses that depend on the
// operands: its time tells nothing about them.

// mul is the product of a and b.
func mul(a, b byte) byte {
	var product byte
	for range 8 {
		product ^= a & -(b & 1)
		a = a<<1 ^ 0x1b&-(a>>7)
		b >>= 1
	}
	return product
}

// inverse is 1/a, and 0 for 0: a to the power of 254.
func inverse(a byte) byte {
	result := byte(1)
	for range 7 { // 254 = 2 + 4 + ... + 128
		a = mul(a, a)
		result = mul(result, a)
	}
	return result
}
